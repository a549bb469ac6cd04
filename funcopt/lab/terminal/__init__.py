"""What the command `funcopt` does on a terminal: its parts, bars, and folders for files."""
