"""Offer a virtual patient as napari sample data."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def sample_data() -> list[tuple[Any, ...]]:
    """Make one virtual patient of the sample cohort: image and mask layer."""
    import tempfile

    from napari_semiseg.io.images import read_image
    from napari_semiseg.io.masks import read_labels
    from napari_semiseg.samples.virtual_patients import LABEL, make_cohort

    with tempfile.TemporaryDirectory() as folder:
        cohort = make_cohort(Path(folder), n=3)
        image = read_image(cohort.images[0])
        mask = read_labels(cohort.masks[0], image.geometry)
    scale = image.geometry.spacing_mm
    return [
        (image.data, {"name": "virtual brain", "scale": scale}, "image"),
        (mask, {"name": LABEL, "scale": scale}, "labels"),
    ]
