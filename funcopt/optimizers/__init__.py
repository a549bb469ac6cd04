"""Optimizers, one algorithm in each file."""
