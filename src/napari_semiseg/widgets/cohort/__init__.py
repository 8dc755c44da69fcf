"""Build the Cohort and Progress tabs and the import dialog."""
