"""Build the networks that methods train."""
