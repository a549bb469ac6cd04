"""Learning-rate range test: `find_lr` trains as the rate rises, and its record is read."""
