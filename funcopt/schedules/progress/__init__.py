"""Schedules driven by progress: functions of the step alone."""
