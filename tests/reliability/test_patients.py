"""What identifies a patient in DICOM stays out of ids, logs and exports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from faulty import semiseg

from dicom_files import SHAPE, structure_set, write_oblique_series
from napari_semiseg.project.project import Project

WORDS = ("Secret", "Hidden", "S1-4711", "19700101")
"""Parts of the patient's name, number and birthday, and of a description."""


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A series that names its patient in every tag that a name is found in."""
    folder = write_oblique_series(tmp_path / "scans" / "t2")
    for file in folder.iterdir():
        item = pydicom.dcmread(file)
        item.PatientName, item.PatientID = "Secret^Hidden", "S1-4711"
        item.PatientBirthDate = "19700101"
        item.SeriesDescription = "T2 of Secret Hidden"
        item.StudyDescription = "Secret"
        item.AccessionNumber = "S1-4711"
        item.save_as(file)
    return folder


def holds(folder: Path) -> list[str]:
    """Words that files below a folder, or their names, hold; packed ones too."""
    import gzip

    found = []
    for path in folder.rglob("*"):
        content = path.name.encode()
        if path.is_file():
            data = path.read_bytes()
            content += gzip.decompress(data) if path.suffix == ".gz" else data
        found += [f"{word} in {path}" for word in WORDS if word.encode() in content]
    return found


def test_no_tag_of_a_patient_reaches_the_project(series, tmp_path) -> None:
    project = tmp_path / "project"
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:6, 4:9, 5:9] = 1
    said = [
        semiseg("init", project, "--label", "1=liver"),
        semiseg("add", project, series.parent, "--json"),
        semiseg("status", project),
    ]
    Project.open(project).set_label("t2", labels, by="reader")
    formats = ("nifti", "nrrd", "mha", "nnunet", "stl", "obj", "ply")
    for fmt in formats:
        out = tmp_path / "out" / fmt
        said.append(semiseg("export", project, out, "--format", fmt))
    assert [done.returncode for done in said] == [0] * len(said), said
    said.append(semiseg("doctor", project))
    assert json.loads(said[1].stdout)["added"] == ["t2"]
    printed = "".join(done.stdout + done.stderr for done in said)
    assert not [word for word in WORDS if word in printed]
    assert holds(project) == []
    assert holds(tmp_path / "out") == []


def test_refusals_do_not_quote_the_patient(series, tmp_path) -> None:
    project = Project.create(tmp_path / "p", {"liver": 1})
    files = sorted(series.iterdir())
    files[4].unlink()
    torn = files[5].read_bytes()
    gap = semiseg("add", project.folder, series)
    files[5].write_bytes(torn[: len(torn) // 2])
    half = semiseg("add", project.folder, series)
    rois = structure_set(tmp_path / "rs" / "t2.dcm", {"Liver": []})
    mask = semiseg("label", project.folder, "--masks", rois.parent)
    for done in (gap, half, mask):
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert not [word for word in WORDS if word in done.stderr]


def test_a_dicom_seg_names_the_patient_as_dicom_demands(series, tmp_path) -> None:
    pytest.importorskip("highdicom")
    project = Project.create(tmp_path / "p", {"liver": 1})
    project.add(series.parent)
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:6, 4:9, 5:9] = 1
    project.set_label("t2", labels)
    report = project.export(tmp_path / "out", fmt="dicom-seg")
    segmentation = pydicom.dcmread(report.written[0])
    assert str(segmentation.PatientName) == "Secret^Hidden"
    others = [path for path in report.written if path.suffix != ".dcm"]
    for path in others:
        assert not [word for word in WORDS if word.encode() in path.read_bytes()]
    assert "Secret" not in report.written[0].name
