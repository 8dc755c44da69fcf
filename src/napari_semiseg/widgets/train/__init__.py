"""Build the Train tab."""
