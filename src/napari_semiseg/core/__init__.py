"""Values of the package: no files, no torch, no Qt."""
