"""Transformations made from transformations."""
