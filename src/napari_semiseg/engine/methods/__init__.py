"""One training method per file; every module here is found by itself."""
