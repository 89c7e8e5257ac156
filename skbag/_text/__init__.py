"""Words, tokens and texts: what stands before a bag."""
