"""One algorithm per file, each for one array, reading like its paper."""
