"""How an algorithm becomes a transformation: rules, their lifts, values, paths, schedules."""
