"""Training of candidates on a grid of learning rates and seeds, which experiments share."""
