"""Build the Progress tab."""
