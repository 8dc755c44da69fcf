"""Match masks and images from outside with the cases of a project."""
