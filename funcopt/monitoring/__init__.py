"""What is measured of gradients, updates and parameters, and the report that a person reads."""
