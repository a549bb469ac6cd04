"""The other building blocks of a chain."""
