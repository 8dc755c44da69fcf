"""Masks as DICOM segmentations (SEG) that refer to the images they were made on."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from napari_semiseg.core.labels import UNANNOTATED, LabelClass
from napari_semiseg.errors import ConfigError, ImageError
from napari_semiseg.io.atomic import atomic_path
from napari_semiseg.io.dicom.series import instances
from napari_semiseg.io.dicom.tags import discreet
from napari_semiseg.io.registry import Author, Format, Mask, register

PACKAGE = "napari-semiseg"


def write_segmentation(target: Path, mask: Mask) -> list[Path]:
    """Write a binary DICOM SEG, one segment a class, atomically.

    Segments are numbered 1, 2, ... in the order of the classes. Their type is the
    SNOMED CT concept of the same name where DICOM lists one, else the concept
    "Anatomical Structure" under the class's name. As DICOM demands, the file names
    the patient and the study as the images do.

    Parameters
    ----------
    target : Path
    mask : Mask
        Of a DICOM series or multi-frame file.

    Raises
    ------
    ConfigError
        highdicom is not installed.
    ImageError
        The image is no DICOM series, lacks identifiers that a SEG must refer to, or
        the mask is not annotated everywhere.
    """
    try:
        import highdicom as hd
    except ModuleNotFoundError as error:
        raise ConfigError(
            "expected highdicom to write a DICOM SEG, found that it is not installed; "
            "pip install 'napari-semiseg[dicom-seg]'"
        ) from error
    import pydicom

    files, order = instances(mask.image)
    if (mask.labels == UNANNOTATED).any():
        raise ImageError(
            "expected a mask annotated everywhere, found voxels that are not, which a "
            "DICOM SEG cannot say; complete it or export to NIfTI"
        )
    native = mask.geometry.to_native(mask.labels)
    frames = np.empty((native.shape[2], native.shape[1], native.shape[0]), np.uint8)
    for place, frame in enumerate(order):
        frames[frame] = native[:, :, place].T
    stack = np.stack([frames == item.value for item in mask.classes], axis=-1)
    try:
        with discreet():
            segmentation = hd.seg.Segmentation(
                source_images=[pydicom.dcmread(file, force=True) for file in files],
                pixel_array=stack.astype(np.uint8),
                segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[
                    _description(number, item, mask.author)
                    for number, item in enumerate(mask.classes, start=1)
                ],
                series_instance_uid=hd.UID(),
                series_number=1,
                sop_instance_uid=hd.UID(),
                instance_number=1,
                manufacturer=PACKAGE,
                manufacturer_model_name=PACKAGE,
                software_versions=metadata.version(PACKAGE),
                device_serial_number="1",
            )
    except (AttributeError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ImageError(
            f"{mask.image}: expected DICOM images that a SEG can refer to, found "
            f"'{reason}'; restore the missing tags or export to NIfTI"
        ) from error
    with atomic_path(target) as temporary, discreet():
        segmentation.save_as(temporary)
    return [target]


def _description(number: int, item: LabelClass, author: Author) -> Any:
    import highdicom as hd
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.codedict import codes

    algorithm = None
    if author.model is not None:
        algorithm = hd.AlgorithmIdentificationSequence(
            name=author.model,
            version=author.version or "1",
            family=codes.DCM.ArtificialIntelligence,
        )
    kinds = SegmentAlgorithmTypeValues
    return SegmentDescription(
        segment_number=number,
        segment_label=item.name[:64],
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=_concept(item.name),
        algorithm_type=kinds.MANUAL if algorithm is None else kinds.AUTOMATIC,
        algorithm_identification=algorithm,
    )


def _concept(name: str) -> Any:
    """SNOMED CT concept of a class, by its name."""
    from pydicom.sr.codedict import codes

    keyword = "".join(word.capitalize() for word in name.split())
    generic = codes.SCT.AnatomicalStructure
    return getattr(codes.SCT, keyword, generic) if keyword.isidentifier() else generic


register(
    Format(
        "dicom-seg",
        "DICOM segmentation (.dcm)",
        write=write_segmentation,
        endings=(".dcm",),
    )
)
