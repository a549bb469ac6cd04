"""How anything becomes a transformation."""
