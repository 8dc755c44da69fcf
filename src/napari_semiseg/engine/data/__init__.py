"""Turn cases into batches: resampled, cached, augmented, with distance maps."""
