"""Files that would fill the memory are refused before, or as, they do."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import numpy as np
import pytest

from dicom_slices import SHAPE, pixels, save, slice_of
from napari_semiseg.errors import ImageError
from napari_semiseg.io import memory
from napari_semiseg.io.dicom import tags
from napari_semiseg.io.images import read_geometry, read_image
from synthetic import save_nifti


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN_GROUP", tmp_path / "own")
    free = memory.free_memory()
    assert free > 1e6  # no groups at all
    (tmp_path / "own").write_text("0::/job/step\n")
    for name, limit in (("", "max"), ("job", "30000000"), ("job/step", "max")):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text("25000000\n")
        (folder / "memory.stat").write_text("anon 5\ninactive_file 4000000\n")
    assert memory.free_memory() == 9e6
    (tmp_path / "own").write_text("5:cpu,memory:/\n")
    (tmp_path / "own").write_text("6:memory:/\n")
    old = tmp_path / "memory"
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text("7000000\n")
    (old / "memory.usage_in_bytes").write_text("2000000\n")
    (old / "memory.stat").write_text("cache 1\n")
    assert memory.free_memory() == 5e6


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1e5)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_an_image_larger_than_the_memory_is_refused_unread(
    tmp_path, little_memory, ending
):
    """A gzipped bomb of zeros is a whole file: its header tells the truth."""
    import SimpleITK as sitk

    path = tmp_path / f"bomb{ending}"
    zeros = np.zeros((60, 50, 40), np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(zeros), str(path), useCompression=True)
    read_geometry(path)  # to add it needs no memory
    with pytest.raises(ImageError, match="GB of free memory, found 60 x"):
        read_image(path)


def test_memory_that_ends_within_a_read_is_told_as_such(tmp_path, monkeypatch):
    path = save_nifti(tmp_path / "a.nii.gz", np.zeros((9, 9, 9), np.int16))

    def no_memory(*_args, **_options):
        raise MemoryError

    monkeypatch.setattr("napari_semiseg.io.nifti._voxels", no_memory)
    with pytest.raises(ImageError, match="free memory"):
        read_image(path)


def deflated(path, content):
    """Write a DICOM file whose elements are this deflated content."""
    header = slice_of(0, pixels()[0])
    header.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    save(header, path)
    head = path.read_bytes()
    meta = 128 + 4 + 12 + int.from_bytes(head[140:144], "little")
    path.write_bytes(head[:meta] + content)


def test_a_deflated_dicom_file_that_inflates_without_end_is_refused(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tags, "_MOST_INFLATED", 2**26)
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = bytes(2**20)
    content = b"".join(bomb.compress(piece) for _ in range(300)) + bomb.flush()
    deflated(tmp_path / "bomb.dcm", content)
    tracemalloc.start()
    with pytest.raises(ImageError, match="deflated DICOM file of at most"):
        read_image(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_deflated_slices_are_read_and_torn_ones_refused_in_one_line(tmp_path):
    stored = pixels()
    for k in range(SHAPE[0]):
        item = slice_of(k, stored[k])
        item.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
        save(item, tmp_path / f"{k}.dcm")
    image = read_image(tmp_path)
    native = image.geometry.to_native(image.data).transpose(2, 1, 0)
    np.testing.assert_array_equal(native, stored)
    deflated(tmp_path / "3.dcm", b"\xff" * 100)
    with pytest.raises(ImageError, match="whole DICOM file"):
        read_image(tmp_path)


def test_gzip_members_beyond_what_the_header_promises_are_not_inflated(tmp_path):
    path = save_nifti(tmp_path / "a.nii.gz", np.ones((9, 9, 9), np.int16))
    more = gzip.compress(bytes(2**20)) * 200
    path.write_bytes(path.read_bytes() + more)
    tracemalloc.start()
    assert read_image(path).data.all()
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()
