"""Whether rates that suit one width suit all: the coordinate check of muP."""
