"""Algorithms that look at the whole tree at once."""
