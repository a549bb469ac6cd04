"""Rescues of trainings that fail: `rescue`, the treatments, and what came of each."""
