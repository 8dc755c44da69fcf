"""Formats: found by name, listed everywhere, and added from outside in one file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from napari_semiseg.errors import ConfigError
from napari_semiseg.io.registry import FORMATS, Format, register, writable
from napari_semiseg.project.exporting.formats import export_formats
from outside_package import install, semiseg

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "adding-a-format.md").read_text(encoding="utf-8")


def test_a_format_of_another_package_is_read_written_and_listed(tmp_path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    env = install(tmp_path / "site", "napari_semiseg.formats", code, "npz_format")
    voxels = np.zeros((12, 10, 8), np.uint8)
    voxels[3:6, 4:7, 2:5] = 1
    affine = np.diag([0.5, 0.5, 2.0, 1.0])
    for folder, values in (("scans", voxels * 100), ("masks", voxels)):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "a.npz", voxels=values, affine=affine)
    project, out = tmp_path / "project", tmp_path / "out"
    semiseg(env, "init", project, "--label", "1=ball")
    semiseg(env, "add", project, tmp_path / "scans")
    semiseg(env, "label", project, "--masks", tmp_path / "masks")
    semiseg(env, "export", project, out, "--format", "npz")
    with np.load(out / "a.npz") as written:
        np.testing.assert_array_equal(written["voxels"], voxels)
        np.testing.assert_allclose(written["affine"], affine)
    assert "npz" in semiseg(env, "export", "--help")


def test_two_formats_of_one_name_or_ending_are_refused() -> None:
    FORMATS.entries()
    with pytest.raises(ConfigError, match="file format called 'nrrd'"):
        register(Format("nrrd", "Another"))
    with pytest.raises(ConfigError, match=r"\.mha files"):
        register(Format("meta", "Another", suffixes=(".mha",)))


def test_the_documents_list_every_format() -> None:
    read, written = (
        (DOCS / name).read_text(encoding="utf-8")
        for name in ("formats.md", "exporting.md")
    )
    for entry in FORMATS.entries().values():
        assert all(
            f"`{suffix}`" in read for suffix in entry.suffixes if suffix != ".dcm"
        )
    assert all(f"`{name}`" in written for name in export_formats())


def test_nifti_is_offered_first() -> None:
    assert next(iter(writable())) == "nifti"
