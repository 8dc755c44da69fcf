"""A project is a folder: images by reference, labels, runs and their predictions."""
