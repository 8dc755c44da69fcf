"""Build the dialog that accepts or reopens many cases at once."""
