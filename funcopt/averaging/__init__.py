"""What evaluates with averages of the parameters."""
