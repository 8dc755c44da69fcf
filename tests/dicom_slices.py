"""Small DICOM series and structure sets, slice by slice, with chosen tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (6, 20, 24)
"""Slices, rows, columns."""
UID = "1.2.826.0.1.3680043.8.498.12"
ORIGIN = np.array([-30.0, 12.0, 5.0])
STEP_MM = 2.0
SPACING_MM = (0.8, 0.9)


def pixels(high: int = 900) -> np.ndarray:
    """Stored values of all slices."""
    return np.random.default_rng(0).integers(1, high, SHAPE)


def slice_of(rank: int, stored: np.ndarray, **tags: Any) -> pydicom.FileDataset:
    """One slice, the ``rank``-th from the feet; ``tags`` replace what is usual."""
    item = Dataset()
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.file_meta.MediaStorageSOPClassUID = MRImageStorage
    usual = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": f"{UID}.{rank + 1}",
        "StudyInstanceUID": f"{UID}.100",
        "SeriesInstanceUID": UID,
        "FrameOfReferenceUID": f"{UID}.101",
        "Modality": "MR",
        "SeriesNumber": 1,
        "PixelSpacing": list(SPACING_MM),
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [*ORIGIN[:2], ORIGIN[2] + STEP_MM * rank],
        "Rows": SHAPE[1],
        "Columns": SHAPE[2],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "PixelRepresentation": 0,
    }
    for name, value in (usual | tags).items():
        setattr(item, name, value)
    item.HighBit = item.BitsStored - 1
    item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
    item.PixelData = stored.astype(
        "<i2" if item.PixelRepresentation else "<u2"
    ).tobytes()
    return item


def save(item: pydicom.FileDataset, file: Path) -> Path:
    """Write a slice as DICOM PS3.10 has it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    item.save_as(file, enforce_file_format=True)
    return file
