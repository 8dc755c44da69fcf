"""Build the start page, the first steps, the check and the export dialog."""
