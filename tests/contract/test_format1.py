"""Projects of format 1, as version 0.1.0 wrote them, can be used.

``format1/README.md`` says how they were made; they are never made anew.
"""

from __future__ import annotations

import csv
import json
import shutil
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import pytest

import napari_semiseg as ss
from contract.snapshots import HERE, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from contract.conftest import Answer
    from contract.snapshots import Snapshots

    Semiseg = Callable[..., Answer]

FILE = "format1.json"
PROJECTS = ("atrium", "brains")
PLANNED = (
    *("spacing_mm", "patch_zyx", "strides", "width", "labelled_batch", "steps"),
    *("unlabelled_batch", "precision", "learning_rate", "device", "sdm_limit_mm"),
)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Two projects with the images they refer to, copied and migrated."""
    folder = tmp_path / "format1"
    shutil.copytree(HERE / "format1", folder)
    for name in PROJECTS:
        assert migrated(folder / name)
    return folder


def migrated(project: Path) -> bool:
    """Mend a project; whether its format was found to be old."""
    findings = ss.check_project(project, mend=True).findings
    assert all(one.mended for one in findings if one.mendable), findings
    return any("of format 1" in one.problem for one in findings)


def test_an_old_project_is_refused_until_it_is_migrated_once(
    semiseg: Semiseg, tmp_path: Path
) -> None:
    project = tmp_path / "atrium"
    shutil.copytree(HERE / "format1", tmp_path, dirs_exist_ok=True)
    with pytest.raises(ss.ProjectError, match=r"semiseg doctor .* --mend"):
        ss.Project.open(project)
    before = snapshot(project)
    assert not semiseg("doctor", project, "--json").exact["json"]["findings"][0][
        "mended"
    ]
    assert snapshot(project) == before
    assert migrated(project)
    ss.Project.open(project)
    before = snapshot(project)
    assert not migrated(project)
    assert snapshot(project) == before


def test_nothing_that_a_history_held_is_lost(stored: Path) -> None:
    """Every value of the details is in the new entry, under its name or another."""
    for name in PROJECTS:
        for path in (HERE / "format1" / name / "cases").glob("*/case.json"):
            old = json.loads(path.read_text())["history"]
            new = json.loads(
                (stored / name / path.relative_to(HERE / "format1" / name)).read_text()
            )["history"]
            assert [one["action"] for one in old] == [one["action"] for one in new]
            for one, other in zip(old, new, strict=True):
                values = set(leaves(one["details"])) - {None}
                assert values <= set(leaves(other)), (path, one, other)
                assert "remarks" not in other


def leaves(value: Any) -> Iterator[Any]:
    """Plain values in nested lists and dicts."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def snapshot(folder: Path) -> dict[str, bytes]:
    """Contents of all files in a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def counts(labels: np.ndarray | None) -> dict[str, int] | None:
    """Voxels per value."""
    if labels is None:
        return None
    values, found = np.unique(labels, return_counts=True)
    return {str(value): int(n) for value, n in zip(values, found, strict=True)}


def facts_of(case: ss.Case) -> dict[str, Any]:
    """What a project knows of a case, from its records and its voxels."""
    images = case.read_images()
    return {
        "state": str(case.state),
        "split": str(case.split),
        "excluded": case.record.excluded,
        "annotated_fraction": round(case.annotated_fraction, 6),
        "accepted_unseen": case.accepted_unseen,
        "flag": case.record.flag,
        "geometry": case.geometry.to_json(),
        "native_affine": case.geometry.native_affine.tolist(),
        "spacing_mm": list(case.geometry.spacing_mm),
        "channels": list(case.channel_names) if len(images) > 1 else [],
        "images": [[image.data.dtype.name, int(image.data.sum())] for image in images],
        "label": counts(case.read_label()),
        "draft": counts(case.read_draft()),
        "previous": len(list((case.folder.path / "previous").glob("*.nii.gz"))),
        "history": [
            [entry.action, entry.by, entry.minutes, round(entry.at)]
            for entry in case.record.history
        ],
    }


@pytest.mark.parametrize("name", PROJECTS)
def test_cases_are_as_they_were(snapshots: Snapshots, stored: Path, name: str) -> None:
    project = ss.Project.open(stored / name)
    found: dict[str, Any] = {case.id: facts_of(case) for case in project.cases()}
    assert project.check_images() == {}
    snapshots.check(FILE, f"{name}: cases", settled(found, stored))


def test_runs_are_as_they_were(snapshots: Snapshots, stored: Path) -> None:
    project = ss.Project.open(stored / "atrium")
    found: dict[str, Any] = {}
    for run in project.runs():
        assert run.plan is not None
        found[run.id] = {
            "status": run.status,
            "steps": run.steps_done,
            "model": run.has_model,
            "config": run.config.model_dump(mode="json"),
            "plan": run.plan.model_dump(mode="json", include=set(PLANNED)),
            "intensities": [
                one.model_dump(mode="json") for one in run.plan.intensities
            ],
            "events": [type(event).__name__ for event in run.events()],
        }
    run = project.runs()[0]
    for name in run.predicted():
        case = project.case(name)
        prediction = run.read_prediction(name, case.geometry)
        found[name] = {
            "record": prediction.record.model_dump(mode="json"),
            "labels": counts(prediction.labels),
            "sdm_mm": [float(one.sum(dtype=float)) for one in prediction.sdm_mm],
            "uncertainty": float(prediction.uncertainty.sum(dtype=float)),
        }
    snapshots.check(FILE, "atrium: runs", settled(found, stored))


@pytest.mark.parametrize("name", PROJECTS)
def test_verbs_work_on_it(
    semiseg: Semiseg, snapshots: Snapshots, stored: Path, name: str
) -> None:
    project, masks = stored / name, stored / "masks"
    tries: dict[str, tuple[object, ...]] = {
        "status": ("status", project),
        "suggest": ("suggest", project),
        "doctor": ("doctor", project),
    }
    if name == "atrium":
        tries["evaluate"] = ("evaluate", project, "--masks", masks)
    found = {verb: semiseg(*words, "--json").exact for verb, words in tries.items()}
    snapshots.check(FILE, f"{name}: verbs", settled(found, stored))


@pytest.mark.parametrize("name", PROJECTS)
def test_masks_are_delivered_on_the_grid_of_the_images(
    semiseg: Semiseg, snapshots: Snapshots, stored: Path, name: str
) -> None:
    out = stored / "out"
    answer = semiseg("export", stored / name, out, "--json").exact
    project = ss.Project.open(stored / name)
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["written_by"]
    for file in manifest["files"]:
        del file["sha256"]  # of a compressed file: another with another zlib
        mask, image = (
            nib.load(path)
            for path in (out / file["file"], project.case(file["case"]).image)
        )
        assert mask.shape == image.shape
        assert np.allclose(mask.affine, image.affine, atol=1e-4)
        file["voxels"] = counts(np.asarray(mask.dataobj))
    with (out / "volumes.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    found = {"export": answer, "manifest": manifest, "volumes": rows}
    snapshots.check(FILE, f"{name}: export", settled(found, stored))


@pytest.mark.engine
def test_its_model_predicts_and_goes_on(semiseg: Semiseg, stored: Path) -> None:
    project = ss.Project.open(stored / "atrium")
    run = project.runs()[0]
    words = ("--run", run.id, "--case", "untouched", "--case", "proposed", "--json")
    assert semiseg("predict", project.folder, *words).code == 0
    assert "untouched" in run.predicted()
    again = ("resume", project.folder, run.id, "--steps", "5", "--no-predict")
    assert semiseg(*again, "--json").exact["json"]["steps"] == 5
