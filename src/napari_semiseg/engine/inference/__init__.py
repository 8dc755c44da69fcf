"""Predict whole volumes from windows and score how certain that is."""
