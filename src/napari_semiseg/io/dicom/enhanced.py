"""Read where the frames of multi-frame DICOM files lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_semiseg.errors import ImageError
from napari_semiseg.io.dicom.stack import DicomSlice
from napari_semiseg.io.dicom.tags import parsing, read_dataset

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_POSITION = ("PlanePositionSequence", "ImagePositionPatient")
_ORIENTATION = ("PlaneOrientationSequence", "ImageOrientationPatient")
_SPACING = ("PixelMeasuresSequence", "PixelSpacing")
_SLOPE = ("PixelValueTransformationSequence", "RescaleSlope")
_INTERCEPT = ("PixelValueTransformationSequence", "RescaleIntercept")


def frames(path: Path) -> list[DicomSlice]:
    """Where each frame of a file lies, in stored order.

    ITK assumes that frames lie in order and at even distances, and that one slope
    serves all of them; the functional groups (DICOM PS3.3 C.7.6.16) tell.

    Raises
    ------
    ImageError
        The file does not say where its frames lie, or scales them differently.
    """
    with parsing(path):
        return _frames(path, read_dataset(path))


def _frames(path: Path, dataset: Dataset) -> list[DicomSlice]:
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence", ()))
    shared = shared_groups(dataset)
    scales = {
        (frame_value(group, shared, _SLOPE), frame_value(group, shared, _INTERCEPT))
        for group in groups
    }
    if len(scales) > 1:
        raise ImageError(
            f"{path}: expected frames of one rescale slope and intercept, found "
            f"{len(scales)}; convert the file to NIfTI"
        )
    size = (int(dataset.Columns), int(dataset.Rows))
    found = []
    for group in groups:
        position = frame_value(group, shared, _POSITION)
        orientation = frame_value(group, shared, _ORIENTATION)
        spacing = frame_value(group, shared, _SPACING)
        if position is None or orientation is None or spacing is None:
            break
        found.append(DicomSlice.from_tags(size, spacing, position, orientation))
    if len(found) != int(dataset.get("NumberOfFrames", 1)) or not found:
        raise ImageError(
            f"{path}: expected a multi-frame DICOM file that says where each frame "
            f"lies, found one that does not; export it as single slices"
        )
    return found


def shared_groups(dataset: Dataset) -> Dataset | None:
    """Functional groups that all frames share."""
    return next(iter(dataset.get("SharedFunctionalGroupsSequence", ())), None)


def frame_value(group: Dataset, shared: Dataset | None, names: tuple[str, str]) -> Any:
    """Read a functional group: the frame's own, else the shared one; hashable."""
    for holder in (group, shared):
        sequence = holder.get(names[0]) if holder is not None else None
        if sequence and names[1] in sequence[0]:
            value = sequence[0].get(names[1])
            return tuple(value) if isinstance(value, list) else value
    return None
