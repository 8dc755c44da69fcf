"""DICOM tags through pydicom."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_semiseg.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom.dataset import Dataset


@contextmanager
def discreet() -> Iterator[None]:
    """Keep warnings off the terminal: they quote tags, such as a patient's name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_dataset(path: Path, *tags: str) -> Dataset:
    """Read all of a DICOM file but its voxels, or only some tags.

    Raises
    ------
    ImageError
        The file is torn or no DICOM.
    """
    import pydicom

    with discreet():
        try:
            return pydicom.dcmread(
                path, stop_before_pixels=True, specific_tags=list(tags) or None
            )
        except (
            OSError,
            ValueError,
            KeyError,
            EOFError,
            AttributeError,
            NotImplementedError,
            pydicom.errors.InvalidDicomError,
        ) as error:
            raise ImageError(
                f"{path}: expected a whole DICOM file, found '{type(error).__name__}'; "
                f"copy or export it again"
            ) from error
