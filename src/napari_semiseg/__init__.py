"""Semi-supervised 3D medical image segmentation: label a few scans, learn from all."""
