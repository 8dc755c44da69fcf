"""Find images on disk, name them, and find them again when they have moved."""
