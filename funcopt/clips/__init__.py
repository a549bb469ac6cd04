"""Clips, one in each file."""
