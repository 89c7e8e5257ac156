"""What comes in, checked; and what is trained."""
