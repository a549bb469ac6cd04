"""Optimizers that choose their rate themselves."""
