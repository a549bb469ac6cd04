"""Schedules driven by performance: what a metric says decides."""
