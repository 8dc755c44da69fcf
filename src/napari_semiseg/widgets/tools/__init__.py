"""Change a mask: brushes, whole-volume operations and their preview."""
