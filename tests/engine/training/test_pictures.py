"""Pictures of one scan in the course of a training."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from napari_semiseg import engine
from napari_semiseg.core.case import Split
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Pictured
from napari_semiseg.engine.training import pictures
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.project.runs.pictures import Pictures

SETTINGS = {
    "method": "supervised",
    "steps": 48,
    "width": 4,
    "patch_zyx": (16, 16, 16),
    "precision": "fp32",
}


def train(project, stop_after=None, run=None):
    """Train, or go on; ask it to stop behind so many pictures."""
    begun = (
        engine.train(project, TrainingConfig.build(**SETTINGS))
        if run is None
        else engine.resume(project, run)
    )
    made, said = [], []
    for event in begun:
        if isinstance(event, Pictured):
            made.append(event)
            if len(made) == stop_after:
                project.latest_run().request_stop()
        if event.type == "warned":
            said.append(event.message)
    return project.latest_run(), made, said


def test_an_unlabelled_scan_is_shown_from_a_first_to_a_late_step(
    ball_project, monkeypatch
):
    plain, without, _ = train(ball_project)
    monkeypatch.setattr(pictures, "SHARE", 1e9)
    run, made, _ = train(ball_project)
    assert len(made) >= len(without)
    assert {event.case for event in made} == {"case_2"}
    stored = Pictures.read(run.folder.pictures)
    assert stored.steps == tuple(event.step for event in made)
    assert stored.steps[0] == 2
    assert all(late - early == 3 for early, late in pairwise(stored.steps))
    assert stored.masks.shape == (len(made), *stored.image.shape)
    assert stored.image.std() > 10
    assert set(np.unique(stored.masks)) <= {0, *ball_project.labels.values}
    geometry = ball_project.case("case_2").geometry
    lit = ball_project.case("case_0").read_label().any(axis=(1, 2))
    assert lit[stored.index]
    assert 0 <= stored.index < geometry.shape_zyx[0]
    assert stored.three() == (0, 7, 15)
    assert made[0].agreement is None
    assert all(0 <= event.agreement <= 1 for event in made if event.agreement)
    # The training is the same with and without.
    first, second = (
        Checkpoint.load(one.folder.last).students["student"] for one in (run, plain)
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_pictures_go_on_where_a_training_was_stopped(ball_project, monkeypatch):
    monkeypatch.setattr(pictures, "SHARE", 1e9)
    run, before, _ = train(ball_project, stop_after=4)
    early = Pictures.read(run.folder.pictures)
    _, after, _ = train(ball_project, run=run)
    stored = Pictures.read(run.folder.pictures)
    assert stored.steps[:4] == early.steps == tuple(event.step for event in before)
    assert stored.steps[4:] == tuple(event.step for event in after)
    assert np.array_equal(stored.masks[:4], early.masks)
    assert list(stored.seconds) == sorted(stored.seconds)
    assert after[0].step == before[-1].step + 3


def test_a_scan_that_only_checks_is_taken_where_all_others_have_labels(
    ball_project, spheres, monkeypatch
):
    monkeypatch.setattr(pictures, "SHARE", 1e9)
    for name in spheres.ids[2:]:
        ball_project.set_label(name, spheres.masks / f"{name}.nii.gz")
    ball_project.set_split("case_3", Split.VALIDATION)
    _, made, _ = train(ball_project)
    assert {event.case for event in made} == {"case_3"}


def test_pictures_that_would_cost_more_than_their_share_are_left_out(
    ball_project, monkeypatch
):
    monkeypatch.setattr(pictures, "SHARE", 1e-9)
    run, made, said = train(ball_project)
    assert made == []
    assert not run.folder.pictures.exists()
    assert not any("pictures" in text for text in said)


def test_a_broken_image_is_told_once_and_the_training_goes_on(
    ball_project, spheres, monkeypatch
):
    monkeypatch.setattr(pictures, "SHARE", 1e9)
    (spheres.images / "case_2.nii.gz").write_bytes(b"nothing")
    run, made, said = train(ball_project)
    assert made == []
    assert sum("no pictures of this training" in text for text in said) == 1
    assert run.status == "completed"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nothing"])
def test_a_damaged_file_counts_as_none(tmp_path, content):
    path = tmp_path / "pictures.npz"
    assert Pictures.read(path) is None
    path.write_bytes(content)
    assert Pictures.read(path) is None
