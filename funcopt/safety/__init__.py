"""What keeps a bad step from breaking a run: guard, rollback, accumulation, loss scale."""
