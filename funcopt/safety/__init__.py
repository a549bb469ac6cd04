"""What keeps a bad step from breaking a run."""
