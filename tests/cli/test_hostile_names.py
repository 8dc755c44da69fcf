"""Names that would command a terminal, a spreadsheet, or name another case."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from napari_semiseg.project.project import Project
from synthetic import save_nifti

TITLE = "\x1b]0;owned\x07"


def run(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "napari_semiseg", *map(str, words)],
        env=os.environ | {"PYTHONUTF8": "0"} | env,
        capture_output=True,
        text=True,
        encoding="latin-1",
        check=False,
    )


def test_no_name_commands_the_terminal(semiseg, spheres, tmp_path) -> None:
    folder = tmp_path / f"p{TITLE}"
    made = semiseg("init", folder, "--label", f"1=atrium{TITLE}")
    shown = made.out + semiseg("status", folder).out
    refused = semiseg("label", folder, "--masks", tmp_path / f"none{TITLE}")
    assert refused.code == 1
    for text in (shown, refused.err):
        assert "owned" in text
        assert "\x1b" not in text
        assert "\x07" not in text


def test_a_terminal_of_another_code_page_shows_what_it_can(tmp_path) -> None:
    folder = tmp_path / "\u5fc3\u623f"
    Project.create(folder, {"\u5de6\u5fc3\u623f": 1})
    done = run("status", folder, PYTHONIOENCODING="cp1252:strict")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_hash_inside_an_id_is_no_comment(semiseg, spheres, tmp_path) -> None:
    project = Project.create(tmp_path / "p", {"left atrium": 1})
    masks = tmp_path / "masks"
    for name in ("scan", "scan#1", "scan #2"):
        data = nibabel.load(spheres.masks / "case_0.nii.gz").get_fdata()
        save_nifti(tmp_path / "scans" / f"{name}.nii.gz", data.astype(np.int16))
        save_nifti(masks / f"{name}.nii.gz", data.astype(np.uint8))
    project.add(tmp_path / "scans")
    chosen = tmp_path / "ids.list"
    chosen.write_text("# three\nscan#1\nscan #2 # the second\n  # scan\n")
    done = semiseg("label", project.folder, "--masks", masks, "--cases", chosen)
    assert done.code == 0, done.err
    states = {case.id: case.has_label for case in project.cases()}
    assert states == {"scan": False, "scan#1": True, "scan #2": True}


def test_no_cell_of_the_volumes_is_a_formula(semiseg, spheres, tmp_path) -> None:
    project = Project.create(tmp_path / "p", {"=1+1": 1})
    project.add(spheres.images)
    name = spheres.ids[0]
    project.set_label(name, spheres.masks / f"{name}.nii.gz")
    assert semiseg("export", project.folder, tmp_path / "out").code == 0
    with (tmp_path / "out" / "volumes.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["label"] == "'=1+1"
    assert float(row["volume_ml"]) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes")
def test_names_that_are_no_text_are_left_out_in_a_line(
    semiseg, empty_project, spheres
) -> None:
    odd = os.fsdecode(os.fsencode(spheres.images) + b"/bad\xff\xfe.nii.gz")
    os.rename(spheres.images / "case_3.nii.gz", odd)
    answer = semiseg("add", empty_project.folder, spheres.images)
    assert "Added 4 cases" in answer.out
    [line] = [line for line in answer.out.splitlines() if line.startswith("Skipped")]
    assert "expected file names in UTF-8" in line
    assert "in UTF-8" in semiseg("add", empty_project.folder, odd).refusal
    folder = os.fsdecode(os.fsencode(spheres.images) + b"/pr\xff")
    assert "in UTF-8" in semiseg("init", folder, "--label", "1=a").refusal
