"""Propose masks from points, scribbles and boxes, before there is a model."""
