from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from napari_semiseg.errors import ImageError
from napari_semiseg.io.images import (
    case_id,
    content_sha256,
    find_images,
    read_geometry,
    read_image,
)
from napari_semiseg.io.masks import read_labels, write_labels

OBLIQUE = Rotation.from_euler("xyz", (15, 5, -20), degrees=True).as_matrix()
SPACING = (0.9, 1.1)
ORIGIN = np.array([-40.0, -60.0, 10.0])
SHAPE = (6, 8, 7)


def write_series(
    folder, positions, *, uid="1.2.3.4", name="T1", directions=None, slope=None
):
    """One DICOM file a position (LPS mm), in an order unlike the anatomy's."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(4)
    stack = rng.integers(-1000, 2000, (len(positions), *SHAPE[1:])).astype(np.int16)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index, position in enumerate(positions):
        direction = OBLIQUE if directions is None else directions[index]
        image = sitk.GetImageFromArray(stack[index])
        if slope is not None:
            image = sitk.Cast(image, sitk.sitkFloat64) * slope
        image.SetSpacing(SPACING)
        values = {
            "0008|0060": "MR",
            "0008|103e": name,
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{index + 1}",
            "0020|0013": str((index * 5) % 7),
            "0020|0032": "\\".join(f"{value:.10g}" for value in position),
            "0020|0037": "\\".join(
                f"{value:.10g}" for value in direction.T[:2].ravel()
            ),
        }
        if slope is not None:
            values |= {"0028|1052": "0", "0028|1053": str(slope)}
            values |= {"0028|0100": "16", "0028|0101": "16"}
            values |= {"0028|0102": "15", "0028|0103": "1"}
        for key, value in values.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{name}{(index * 3) % 7}_{index}.dcm"))
        writer.Execute(image)
    return stack


def straight(step=3.0, count=SHAPE[0]):
    return [ORIGIN + OBLIQUE[:, 2] * step * index for index in range(count)]


def refused(folder, *words):
    with pytest.raises(ImageError) as caught:
        read_geometry(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    for word in ("expected", "found", ";", *words):
        assert word in message


def test_slices_are_sorted_by_position_and_lie_where_the_tags_say(tmp_path):
    stack = write_series(tmp_path / "series", straight())
    image = read_image(tmp_path / "series")
    native = image.geometry.to_native(image.data)
    assert native.dtype == np.int16
    assert np.array_equal(native, stack.transpose(2, 1, 0))
    expected = np.eye(4)
    expected[:3, :3] = OBLIQUE * (0.9, 1.1, 3.0)
    expected[:3, 3] = ORIGIN
    lps_to_ras = np.diag([-1, -1, 1, 1])
    assert np.allclose(image.geometry.native_affine, lps_to_ras @ expected, atol=1e-6)


def test_a_mask_of_a_series_lies_on_it(tmp_path):
    write_series(tmp_path / "series", straight())
    image = read_image(tmp_path / "series")
    labels = (image.data > 300).astype(np.uint8)
    for suffix in (".nii.gz", ".nrrd"):
        target = tmp_path / f"mask{suffix}"
        write_labels(target, labels, image.geometry, tmp_path / "series")
        assert np.array_equal(read_labels(target, image.geometry), labels)


def test_a_series_is_found_as_its_folder(tmp_path):
    folder = tmp_path / "cohort" / "patient_07"
    folder.parent.mkdir()
    write_series(folder, straight())
    for index, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"IM{index:04}")
    (tmp_path / "cohort" / "extra.nii.gz").write_bytes(b"")
    assert find_images(tmp_path / "cohort") == [
        tmp_path / "cohort" / "extra.nii.gz",
        folder,
    ]
    assert case_id(folder) == "patient_07"
    assert len(content_sha256(folder)) == 64
    assert find_images(folder / "IM0003") == [folder]


def test_fractional_slopes_give_float32(tmp_path):
    stack = write_series(tmp_path / "series", straight(), slope=0.25)
    image = read_image(tmp_path / "series")
    assert image.data.dtype == np.float32
    expected = stack.transpose(2, 1, 0) * 0.25
    assert np.allclose(image.geometry.to_native(image.data), expected)


def test_several_series_are_listed(tmp_path):
    write_series(tmp_path / "series", straight(), uid="1.2.3.4", name="T1")
    write_series(tmp_path / "series", straight(), uid="1.2.3.5", name="FLAIR")
    refused(tmp_path / "series", "found 2", "'T1' (", "6 files, 1.2.3.4)", "'FLAIR' (")


@pytest.mark.parametrize("choice", ["1.2.3.5", "flair"])
def test_one_of_several_series_is_chosen_and_known_by_its_first_file(tmp_path, choice):
    folder = tmp_path / "series"
    write_series(folder, straight(), uid="1.2.3.4", name="T1")
    stack = write_series(folder, straight(), uid="1.2.3.5", name="FLAIR")
    assert find_images(tmp_path) == [folder]
    assert find_images(tmp_path, [choice]) == [folder / "FLAIR0_0.dcm"]
    assert len(find_images(tmp_path, ["all"])) == 2
    image = read_image(folder / "FLAIR0_0.dcm")
    assert np.array_equal(
        image.geometry.to_native(image.data), stack.transpose(2, 1, 0)
    )
    before = content_sha256(folder / "FLAIR0_0.dcm")
    (folder / "T10_0.dcm").unlink()
    assert content_sha256(folder / "FLAIR0_0.dcm") == before
    (folder / "FLAIR0_0.dcm").rename(folder / "A.dcm")
    (folder / "FLAIR3_1.dcm").unlink()
    assert content_sha256(folder / "A.dcm") != before


def test_a_missing_slice_is_told_in_mm(tmp_path):
    positions = straight()
    del positions[3]
    write_series(tmp_path / "series", positions)
    refused(tmp_path / "series", "even distances", "3.000 to 6.000 mm")


def test_slices_at_one_place_are_refused(tmp_path):
    write_series(tmp_path / "series", straight(count=3) + straight(count=3))
    refused(tmp_path / "series", "place of its own")


def test_gantry_tilt_is_told_in_degrees(tmp_path):
    shear = OBLIQUE[:, 1] * 3 * np.tan(np.radians(12))
    positions = [item + shear * index for index, item in enumerate(straight())]
    write_series(tmp_path / "series", positions)
    refused(tmp_path / "series", "gantry tilt of 12.0 degrees")


def test_slices_of_several_directions_are_refused(tmp_path):
    directions = [OBLIQUE] * 5 + [OBLIQUE[:, [0, 2, 1]] * (1, -1, 1)]
    write_series(tmp_path / "series", straight(), directions=directions)
    refused(tmp_path / "series", "parallel")


def test_a_single_slice_is_refused(tmp_path):
    write_series(tmp_path / "series", straight(count=1))
    refused(tmp_path / "series", "at least 2 slices")


def test_a_torn_slice_is_refused(tmp_path):
    write_series(tmp_path / "series", straight())
    file = sorted((tmp_path / "series").iterdir())[2]
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / "series")
    assert "\n" not in str(caught.value)


def write_frames(path, folder, *, order=None, change=None):
    """One enhanced multi-frame file of a series of slices."""
    pydicom = pytest.importorskip("pydicom")
    legacy = pytest.importorskip("highdicom.legacy")
    slices = [pydicom.dcmread(file) for file in sorted(folder.iterdir())]
    for item in slices:
        item.StudyID, item.AccessionNumber, item.SeriesNumber = "1", "", 1
        item.PatientID = item.PatientName = "nobody"
        item.ImageType = ["ORIGINAL", "PRIMARY"]
        item.FrameOfReferenceUID = "1.2.3.9"
        item.SOPClassUID = pydicom.uid.MRImageStorage
        for key in ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
            setattr(item, key, "")
    made = legacy.LegacyConvertedEnhancedMRImage(slices, "1.2.3.6", 1, "1.2.3.6.1", 1)
    if change is not None:
        change(made)
    path.parent.mkdir(exist_ok=True)
    made.save_as(path)
    return path


def test_a_multi_frame_file_is_a_volume_by_where_its_frames_lie(tmp_path):
    stack = write_series(tmp_path / "slices", straight())
    file = write_frames(tmp_path / "frames" / "scan.dcm", tmp_path / "slices")
    image, series = read_image(file), read_image(tmp_path / "slices")
    assert find_images(tmp_path / "frames") == [file]
    assert case_id(file) == "scan"
    assert image.geometry.difference(series.geometry, 1e-3) is None
    assert np.array_equal(
        image.geometry.to_native(image.data), stack.transpose(2, 1, 0)
    )


def test_multi_frame_files_with_gaps_or_several_slopes_are_refused(tmp_path):
    positions = straight()
    del positions[2]
    write_series(tmp_path / "gap", positions)
    file = write_frames(tmp_path / "frames" / "gap.dcm", tmp_path / "gap")
    refused(file, "even distances")

    def rescale(made):
        for index, group in enumerate(made.PerFrameFunctionalGroupsSequence):
            item = type(group)()
            item.RescaleSlope, item.RescaleIntercept = 1 + index, 0
            group.PixelValueTransformationSequence = [item]

    write_series(tmp_path / "even", straight())
    file = write_frames(
        tmp_path / "frames" / "slopes.dcm", tmp_path / "even", change=rescale
    )
    refused(file, "one rescale slope")


def test_a_slice_that_promises_more_than_it_holds_is_refused_unread(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    write_series(tmp_path / "series", straight())
    for file in (tmp_path / "series").iterdir():
        item = pydicom.dcmread(file)
        item.Rows = item.Columns = 65535
        item.save_as(file)
    refused(tmp_path / "series", "whole image file of")
