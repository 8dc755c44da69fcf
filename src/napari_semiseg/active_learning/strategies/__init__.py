"""Rank candidates by one strategy or another; every module here is found."""
