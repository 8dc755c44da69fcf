"""Write raw data sets as nnU-Net reads them."""

from __future__ import annotations

import glob
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.case import Split
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.io.atomic import atomic_path, write_json
from napari_semiseg.io.images import read_geometry
from napari_semiseg.io.masks import write_labels
from napari_semiseg.project.cases.channels import UNNAMED

if TYPE_CHECKING:
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project

NAME = "nnunet"
TITLE = "nnU-Net raw data set"
ENDING = ".nii.gz"
NOTE = (
    "images are copied with their headers whole: names and dates that a converter "
    "wrote into them go along"
)


def write_case(
    project: Project, case: Case, labels: NDArray[np.uint8], folder: Path
) -> Path:
    """Write images and mask; the values become 1, 2, ... and 255 the ignore label.

    What an earlier export has of the case under other names is removed: a test case
    that was one for training before must not stay among those.

    Returns
    -------
    Path
        The mask.
    """
    part = "Ts" if case.split is Split.TEST else "Tr"
    table = np.zeros(256, np.uint8)
    for rank, value in enumerate(project.labels.values, start=1):
        table[value] = rank
    table[UNANNOTATED] = len(project.labels) + 1
    mask = folder / f"labels{part}" / f"{case.id}{ENDING}"
    images = [
        folder / f"images{part}" / f"{case.id}_{number:04d}{ENDING}"
        for number in range(len(case.channels))
    ]
    try:
        for number, image in enumerate(images):
            _copy_image(case, number, image)
        write_labels(mask, table[labels], case.geometry, case.image)
    except Exception:
        for image in images:
            image.unlink(missing_ok=True)
        raise
    for path in _files_of(case, folder) - {mask, *images}:
        path.unlink()
    return mask


def _files_of(case: Case, folder: Path) -> set[Path]:
    name = glob.escape(case.id)
    patterns = (
        f"imagesT[rs]/{name}_[0-9][0-9][0-9][0-9]{ENDING}",
        f"labelsT[rs]/{name}{ENDING}",
    )
    return {path for pattern in patterns for path in folder.glob(pattern)}


def write_dataset(project: Project, folder: Path) -> list[Path]:
    """Describe the data set that lies in a folder."""
    names = {"background": 0}
    for rank, item in enumerate(project.labels, start=1):
        names[item.name] = rank
    names["ignore"] = len(names)
    path = folder / "dataset.json"
    training = list((folder / "labelsTr").glob(f"*{ENDING}"))
    write_json(
        path,
        {
            "name": project.name,
            "channel_names": {
                str(number): name
                for number, name in enumerate(project.channels or (UNNAMED,))
            },
            "labels": names,
            "numTraining": len(training),
            "file_ending": ENDING,
        },
    )
    return [path]


def _copy_image(case: Case, number: int, target: Path) -> None:
    """Copy a NIfTI file as it is; bring any other image onto NIfTI.

    All channels of a case are written in the voxel order of the first one.
    """
    channel, geometry = case.channels[number], case.geometry
    with atomic_path(target) as temporary:
        if channel.image.name.lower().endswith(ENDING) and channel.volume is None:
            own, _ = read_geometry(channel.image)
            if np.allclose(own.native_affine, geometry.native_affine, atol=1e-3):
                shutil.copyfile(channel.image, temporary)
                return
        import nibabel as nib

        native = np.ascontiguousarray(geometry.to_native(case.read_image(number).data))
        stored = native.astype(np.float32) if native.dtype == np.float64 else native
        affine = geometry.native_affine
        nib.save(nib.Nifti1Image(stored, affine, dtype=stored.dtype), temporary)
