"""Save mask layers of the panel on the grid of their image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

METADATA = "semiseg"
"""Key in a layer's metadata that holds the case it belongs to."""


def write_labels_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer of a case onto the grid of the case's image.

    Raises
    ------
    ImageError
        The layer was not opened by Semiseg: its image is not known.
    """
    import numpy as np

    from napari_semiseg.errors import ImageError
    from napari_semiseg.imaging.mask_encoding import MaskEncoding
    from napari_semiseg.io.masks import write_labels
    from napari_semiseg.project.project import Project

    known = (meta.get("metadata") or {}).get(METADATA)
    if known is None:
        raise ImageError(
            f"layer '{meta.get('name', '')}' does not say which image it belongs to: "
            "save a mask that the Semiseg panel opened, or use another file type"
        )
    project = Project.open(known["project"])
    case = project.case(known["case"])
    labels = np.asarray(data)
    shape = case.geometry.shape_zyx
    if labels.shape != shape or labels.min() < 0 or labels.max() > 255:
        raise ImageError(
            f"expected labels from 0 to 255 of shape {shape}, found {labels.min()} to "
            f"{labels.max()} of shape {labels.shape}: undo the change of the layer"
        )
    classes = MaskEncoding(project.labels).classes(labels.astype(np.uint8))
    write_labels(Path(path), classes, case.geometry, case.image)
    return [path]
