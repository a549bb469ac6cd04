"""Comparison of optimizers: `compare`, its record, its pictures and its page."""
