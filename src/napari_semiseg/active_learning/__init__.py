"""Suggest what to annotate next, from the scores of stored predictions."""
