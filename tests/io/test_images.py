from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_semiseg.errors import ImageError
from napari_semiseg.io.images import (
    case_id,
    content_sha256,
    find_images,
    read_image,
)
from napari_semiseg.io.registry import image_suffixes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("patient_01.nii.gz", "patient_01"),
        ("patient.01.nii", "patient.01"),
        ("A.NII.GZ", "A"),
        ("brain.nrrd", "brain"),
        ("brain.mha", "brain"),
        ("x.gipl.gz", "x"),
        ("x.hdr", "x"),
        ("t1.mgz", "t1"),
        ("plain", "plain"),
        ("notes.v2", "notes.v2"),
    ],
)
def test_case_id_drops_known_endings_only(name, expected):
    assert case_id(Path("folder", name)) == expected


def test_case_id_of_a_folder_is_its_name(tmp_path):
    folder = tmp_path / "series.nii"
    folder.mkdir()
    assert case_id(folder) == "series.nii"


def test_every_ending_names_a_case():
    assert {case_id(Path(f"case{suffix}")) for suffix in image_suffixes()} == {"case"}


def test_finds_images_below_a_folder_sorted(tmp_path):
    names = ["b/2.nii.gz", "b/masks/1.nrrd", "a.NII", "c/pair.hdr", ".hidden.mha"]
    others = ["c/pair.img", "notes.txt", "b/._2.nii.gz", "b/.tmp-12.nii.gz", "b/x.json"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert find_images(tmp_path) == sorted(tmp_path / name for name in names)
    assert find_images(tmp_path / "b" / "2.nii.gz") == [tmp_path / "b" / "2.nii.gz"]
    assert find_images(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]


def test_finding_where_there_is_nothing_is_refused(tmp_path):
    with pytest.raises(ImageError, match="nothing there"):
        find_images(tmp_path / "none")
    assert find_images(tmp_path) == []


@pytest.mark.parametrize("suffix", image_suffixes())
def test_an_empty_file_is_called_so(tmp_path, suffix):
    (tmp_path / f"scan{suffix}").touch()
    with pytest.raises(ImageError, match="an empty one; copy or export it again"):
        read_image(tmp_path / f"scan{suffix}")


def test_a_folder_without_a_series_is_no_image(tmp_path):
    with pytest.raises(ImageError, match="DICOM series, found a folder without one"):
        read_image(tmp_path)


def test_sha256_is_of_the_content(tmp_path):
    one, other = tmp_path / "a", tmp_path / "b"
    one.write_bytes(b"abc")
    other.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert content_sha256(one) == content_sha256(other) == known
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "1").write_bytes(b"a")
    (folder / "2").write_bytes(b"bc")
    before = content_sha256(folder)
    assert content_sha256(folder) == before
    (folder / "2").write_bytes(b"bd")
    assert content_sha256(folder) != before
    with pytest.raises(ImageError, match="none"):
        content_sha256(tmp_path / "none")


@pytest.mark.parametrize(
    ("header", "text", "voxels"),
    [
        ("a.hdr", "header", "a.img"),
        ("a.mhd", "NDims = 3\nElementDataFile = other.raw\n", "other.raw"),
        ("a.mhd", "ElementDataFile = LIST\n1.raw\n2.raw\n", "2.raw"),
        ("a.mhd", "ElementDataFile = s%03d.raw 1 3 1\n", "s002.raw"),
        (
            "a.nhdr",
            "NRRD0004\ndata file: vox/a.raw.gz\nencoding: gzip\n",
            "vox/a.raw.gz",
        ),
    ],
)
def test_sha256_includes_detached_voxels(tmp_path, header, text, voxels):
    (tmp_path / header).write_text(text)
    (tmp_path / voxels).parent.mkdir(exist_ok=True)
    (tmp_path / voxels).write_bytes(b"1")
    before = content_sha256(tmp_path / header)
    (tmp_path / voxels).write_bytes(b"2")
    assert content_sha256(tmp_path / header) != before


def test_data_is_contiguous_and_its_own(tmp_path):
    path = tmp_path / "i.nii"
    nibabel.Nifti1Image(
        np.arange(24, dtype=">i2").reshape(2, 3, 4), np.diag([1, 1, -1, 1])
    ).to_filename(path)
    image = read_image(path)
    assert image.data.flags.c_contiguous
    assert image.data.flags.writeable
    assert image.data.dtype.isnative


def test_importing_loads_no_heavy_library():
    code = (
        "import sys, napari_semiseg.io.masks, napari_semiseg.imaging.metrics;"
        "heavy = {'nibabel', 'SimpleITK', 'scipy', 'torch', 'napari'} & {*sys.modules};"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
