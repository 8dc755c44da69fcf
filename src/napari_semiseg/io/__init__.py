"""Image and mask files in canonical axes, written back exactly."""
