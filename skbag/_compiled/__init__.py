"""How compiled code comes to be, and is kept."""
