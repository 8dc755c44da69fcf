"""Series that scanners and archives really make, and that are easy to read wrongly."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from dicom_slices import SHAPE, UID, pixels, save, slice_of
from napari_semiseg.io.dicom.series import series_of
from napari_semiseg.io.images import content_sha256, find_images, read_image
from napari_semiseg.project.importing.preview import (
    ImportRequest,
    import_pairs,
    preview_import,
)
from napari_semiseg.project.project import Project


def read(folder):
    """Values (slices, rows, columns) of a folder, and what the user is told."""
    image = read_image(folder)
    return image.geometry.to_native(image.data).transpose(2, 1, 0), image.notes


SLOPES = [
    {"RescaleSlope": 1.0 if k == 0 else round(0.31 + 0.1 * k, 4)} for k in range(6)
]
CENTRED = [
    {"RescaleSlope": 1, "RescaleIntercept": 0 if k == 0 else -1024} for k in range(6)
]
SIGNED = [{"PixelRepresentation": int(k > 2)} for k in range(6)]
LARGE = [{"RescaleSlope": 1, "RescaleIntercept": 0 if k else -1000} for k in range(6)]


@pytest.mark.parametrize(
    ("changes", "high"),
    [(SLOPES, 900), (CENTRED, 2000), (SIGNED, 900), (LARGE, 65_000)],
    ids=["slopes", "intercepts", "signedness", "large"],
)
def test_slices_that_scale_differently_keep_their_values(tmp_path, changes, high):
    stored = pixels(high)
    expected = np.empty(SHAPE)
    for k, tags in enumerate(changes):
        tags = {"RescaleIntercept": 0} | tags if "RescaleSlope" in tags else tags
        save(slice_of(k, stored[k], **tags), tmp_path / f"{k}.dcm")
        slope, shift = tags.get("RescaleSlope", 1), tags.get("RescaleIntercept", 0)
        expected[k] = stored[k] * slope + shift
    values, _ = read(tmp_path)
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("intercept", [None, -1024])
def test_values_of_monochrome1_are_kept_and_the_user_is_told(
    tmp_path, packed, signed, bits, intercept
):
    stored = pixels(2000) - (1000 if signed else 0)
    tags = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": bits}
    tags |= {"PixelRepresentation": int(signed)}
    if intercept is not None:
        tags |= {"RescaleSlope": 1, "RescaleIntercept": intercept}
    for k in range(SHAPE[0]):
        item = slice_of(k, stored[k], **tags)
        if packed:
            item.compress(RLELossless, generate_instance_uid=False)
        save(item, tmp_path / f"{k}.dcm")
    values, notes = read(tmp_path)
    np.testing.assert_array_equal(values, stored + (intercept or 0))
    assert values.dtype.kind in "iu"
    assert any("MONOCHROME1" in note for note in notes)


def test_digits_of_the_spacing_may_differ(tmp_path):
    stored = pixels()
    for k in range(SHAPE[0]):
        spacing = 0.976562 if k % 2 else 0.9765625
        save(slice_of(k, stored[k], PixelSpacing=[spacing] * 2), tmp_path / f"{k}.dcm")
    np.testing.assert_array_equal(read(tmp_path)[0], stored)


def test_files_without_a_preamble_are_read(tmp_path):
    stored = pixels()
    for k in range(SHAPE[0]):
        item = slice_of(k, stored[k])
        del item.file_meta
        dcmwrite(tmp_path / f"IM{k}", item, implicit_vr=True, little_endian=True)
    assert find_images(tmp_path) == [tmp_path]
    np.testing.assert_array_equal(read(tmp_path)[0], stored)


def test_identical_copies_count_once_and_are_told(tmp_path):
    stored = pixels()
    for k in range(SHAPE[0]):
        for name in (f"IM{k}.dcm", f"IM{k} (1).dcm"):
            save(slice_of(k, stored[k]), tmp_path / name)
    values, notes = read(tmp_path)
    np.testing.assert_array_equal(values, stored)
    assert any("6 identical copies" in note for note in notes)


def test_stray_files_are_neither_read_nor_part_of_the_hash(tmp_path):
    stored = pixels()
    for k in range(SHAPE[0]):
        save(slice_of(k, stored[k]), tmp_path / f"IM{k}")
    before = content_sha256(tmp_path)
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = f"{UID}.77"
    directory.DirectoryRecordSequence = []
    directory.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    (tmp_path / ".DS_Store").write_bytes(bytes(500))
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(500))
    np.testing.assert_array_equal(read(tmp_path)[0], stored)
    assert content_sha256(tmp_path) == before
    save(slice_of(2, stored[3]), tmp_path / "IM2")
    assert content_sha256(tmp_path) != before


def test_the_headers_of_a_folder_are_read_once(tmp_path):
    stored = pixels()
    for number in range(12):
        for k in range(SHAPE[0]):
            uid = f"{UID}.{number + 200}"
            tags = {"SeriesInstanceUID": uid, "SOPInstanceUID": f"{uid}.{k}"}
            save(
                slice_of(k, stored[k] + number, SeriesNumber=number, **tags),
                tmp_path / f"{number}_{k}.dcm",
            )
    begun = time.process_time()
    assert len(series_of(tmp_path)) == 12
    first = time.process_time() - begun
    begun = time.process_time()
    images = find_images(tmp_path, ["all"])
    values = [read(image)[0].mean() for image in images]
    assert len(set(values)) == 12
    # Each of the twelve would cost as much as the first look.
    assert time.process_time() - begun < 8 * first + 1


def test_adding_a_folder_of_series_tells_how_far_it_is(tmp_path):
    """First how many are found, of nobody knows how many; then each of them."""
    project = Project.create(tmp_path / "project", {"ball": 1})
    for number in range(1, 4):
        for k in range(2):
            uid = {"SeriesInstanceUID": f"{UID}.{number}", "SeriesNumber": number}
            item = slice_of(k, pixels()[k], SOPInstanceUID=f"{UID}.{number}.{k}", **uid)
            save(item, tmp_path / "scans" / f"{number}_{k}.dcm")
    told = []
    options = {"series": ["all"], "progress": lambda *at: told.append(at)}
    project.add(tmp_path / "scans", dry_run=True, **options)
    assert told == [(1, 0), (2, 0), (3, 0), (1, 3), (2, 3), (3, 3)]
    request = ImportRequest((tmp_path / "scans",), series=("all",))
    told.clear()
    found = preview_import(project, request, options["progress"])
    assert told[-1] == (3, 3)
    told.clear()
    report, _ = import_pairs(project, request, found.pairs, options["progress"])
    assert (len(report.added), told[-1]) == (3, (3, 3))


def test_a_torn_slice_leaves_its_folder_out_and_no_other(tmp_path):
    for name in ("anna", "bert"):
        for k in range(SHAPE[0]):
            save(slice_of(k, pixels()[k]), tmp_path / "scans" / name / f"{k}.dcm")
    torn = tmp_path / "scans" / "anna" / "3.dcm"
    torn.write_bytes(torn.read_bytes()[:300])
    project = Project.create(tmp_path / "project", {"ball": 1})
    report = project.add(tmp_path / "scans")
    assert report.added == ["bert"]
    [(path, reason)] = report.skipped.items()
    assert path == str(torn.parent)
    assert "3.dcm" in reason
