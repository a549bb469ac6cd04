"""How parameters in half precision are kept, so that small steps are not rounded away."""
