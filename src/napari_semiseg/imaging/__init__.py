"""Compute on arrays with a voxel size: distances, metrics, surfaces, pictures."""
