"""Build the Review tab."""
