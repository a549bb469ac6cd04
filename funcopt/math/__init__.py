"""Arrays in, arrays out; no optimizer words."""
