"""Accept, flag and score predictions."""
