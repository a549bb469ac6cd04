"""Schedules side by side: `schedule_curves`."""
