"""Read and write DICOM: series, enhanced files, structure sets, segmentations."""
