"""Each input that must not be guessed at: refused by the verb, with file and reason."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dicom_files import write_oblique_series
from napari_semiseg.errors import ImageError
from napari_semiseg.project.importing.match_masks import attach
from napari_semiseg.project.project import Project
from synthetic import SIZE, ball, save_nifti

SHEAR = np.eye(4)
SHEAR[0, 2] = 0.2
VOXELS = np.zeros((6, 7, 8), np.float32)
BAD = VOXELS.copy()
BAD[1, 2, 3] = np.nan
ENDLESS = VOXELS.copy()
ENDLESS[1, 2, 3] = np.inf
COLOURS = np.zeros((6, 7, 8), [("R", "u1"), ("G", "u1"), ("B", "u1")])


def nifti(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    file = path / "scan.nii.gz"
    nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine).to_filename(file)
    return file


def itk(path: Path, image: sitk.Image) -> Path:
    file = path / "scan.nrrd"
    sitk.WriteImage(image, str(file))
    return file


def series(path: Path, change) -> Path:
    """A series whose slice of rank ``k`` along the stack was changed."""
    folder = write_oblique_series(path / "scan")
    items = [(file, pydicom.dcmread(file)) for file in folder.iterdir()]
    items.sort(key=lambda item: -item[1].InstanceNumber)
    for rank, (file, item) in enumerate(items):
        if change(rank, item) is False:
            file.unlink()
        else:
            item.save_as(file)
    return folder


def tilted(rank, item):
    place = np.array(item.ImagePositionPatient, float)
    rows = np.array(item.ImageOrientationPatient[3:], float)
    item.ImagePositionPatient = [round(v, 6) for v in place + 0.5 * rank * rows]


def in_colours(_rank, item):
    item.PhotometricInterpretation = "PALETTE COLOR"
    for colour in ("Red", "Green", "Blue"):
        table = f"{colour}PaletteColorLookupTable"
        item.add_new(f"{table}Descriptor", "US", [1024, 0, 16])
        item.add_new(f"{table}Data", "OW", bytes(2048))


REFUSED = {
    "sheared affine": (lambda p: nifti(p, VOXELS, SHEAR), "right angles"),
    "NaN": (lambda p: nifti(p, BAD), "NaN or infinite"),
    "infinite": (lambda p: nifti(p, ENDLESS), "NaN or infinite"),
    "complex": (lambda p: nifti(p, VOXELS.astype(np.complex64)), "complex64"),
    "colours": (lambda p: nifti(p, COLOURS), "colours"),
    "4D": (lambda p: nifti(p, np.zeros((6, 7, 8, 3), np.int16)), "4D data"),
    "one slice": (lambda p: nifti(p, np.zeros((6, 7, 1), np.int16)), "single slice"),
    "complex NRRD": (
        lambda p: itk(p, sitk.Image(6, 7, 8, sitk.sitkComplexFloat32)),
        "expected",
    ),
    "colour NRRD": (
        lambda p: itk(p, sitk.Image([6, 7, 8], sitk.sitkVectorUInt8, 3)),
        "one number a voxel",
    ),
    "gantry tilt": (lambda p: series(p, tilted), "gantry tilt"),
    "uneven gaps": (lambda p: series(p, lambda rank, _: rank != 4), "even distances"),
    "DICOM with a table of colours": (lambda p: series(p, in_colours), "colours"),
    "one DICOM slice": (
        lambda p: series(p, lambda rank, _: rank == 0),
        "at least 2 slices",
    ),
}


def use(project: Project, path: Path) -> None:
    """Add an image and read its voxels."""
    project.add(path)
    project.cases()[0].read_image()


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_in_one_sentence_that_names_the_file(
    tmp_path, empty_project, kind
) -> None:
    make, words = REFUSED[kind]
    path = make(tmp_path)
    with pytest.raises(ImageError) as caught:
        use(empty_project, path)
    message = str(caught.value)
    assert words in message
    assert str(path) in message
    assert "\n" not in message
    for part in ("expected", "found", ";"):
        assert part in message


def test_qform_and_sform_that_disagree_are_told_with_the_case(
    tmp_path, empty_project
) -> None:
    image = nib.Nifti1Image(VOXELS.astype(np.int16), None)
    far = np.eye(4)
    far[:3, 3] = (40, 0, 0)
    image.header.set_qform(np.eye(4), code=1)
    image.header.set_sform(far, code=1)
    image.to_filename(tmp_path / "scan.nii.gz")
    report = empty_project.add(tmp_path / "scan.nii.gz")
    (note,) = report.notes["scan"]
    assert "qform and sform disagree by up to 40 mm; the sform is used" in note
    geometry = empty_project.case("scan").geometry
    assert np.allclose(geometry.native_affine, far)


def test_a_mask_on_another_grid_is_resampled_only_when_told_to(
    tmp_path, spheres
) -> None:
    project = Project.create(tmp_path / "p", {"ball": 1})
    project.add(spheres.images / "case_0.nii.gz")
    masks = tmp_path / "masks"
    save_nifti(masks / "case_0.nii.gz", ball(0), shift=3.0)
    with pytest.raises(ImageError, match="--resample nearest"):
        attach(project, masks)
    assert not project.case("case_0").has_label
    attach(project, masks, resample=True)
    case = project.case("case_0")
    # 3 mm along an axis of 1 mm that grows to the left: whole voxels, none made up.
    mask = case.geometry.to_canonical(ball(0))
    label = case.read_label()
    assert label.shape == (SIZE,) * 3
    assert np.array_equal(label[:, :, :-3] == 1, mask[:, :, 3:] == 1) or np.array_equal(
        label[:, :, 3:] == 1, mask[:, :, :-3] == 1
    )
    assert (label == 255).sum() == 3 * SIZE * SIZE
    entry = case.record.history[-1]
    assert entry.resampled == "nearest"
