"""Decide voxel size, crop, network and number of steps from cohort and device."""
