"""Where slots live on a mesh of devices."""
