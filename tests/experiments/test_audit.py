"""Labels that contradict models that have not seen them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import napari_semiseg as ss
from fake_workers import FakeWorkers
from napari_semiseg.active_learning.suggest import suggest
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.experiments.experiment import TrialStarted
from napari_semiseg.project.project import Project
from napari_semiseg.project.review.label_audit import (
    BEYOND,
    MISSING,
    SWAPPED,
    LabelAudit,
    doubtful_slices,
)
from napari_semiseg.project.runs.run import Run
from synthetic import snapshot

CONFIG = ss.TrainingConfig(steps=7)


@pytest.fixture
def labelled(ball_project, spheres) -> Project:
    """Four labels, of which slices 9 and 13 of case 1 lack the structure."""
    for name in spheres.ids[2:4]:
        ball_project.set_label(name, spheres.masks / f"{name}.nii.gz")
    label = ball_project.case("case_1").read_label()
    label[[9, 13]] = 0
    ball_project.set_label("case_1", label)
    return ball_project


def run_audit(project, workers, **options) -> list:
    return list(ss.audit(project, CONFIG, folds=2, executor=workers, **options))


def test_planted_errors_come_first_by_models_that_have_not_seen_them(
    labelled, predict_ball, tmp_path
) -> None:
    workers = FakeWorkers(predict_ball)
    before = snapshot(labelled.folder)
    run_audit(labelled, workers, out=tmp_path / "audit")
    for folder in (tmp_path / "audit").iterdir():
        copy = Project.open(folder)
        hidden = {case.id for case in copy.cases(split="test")}
        shown = {case.id for case in copy.cases() if case.has_label}
        assert len(hidden) == len(shown) == 2
        assert not hidden & shown
    predicted = sorted(name for names in workers.wanted for name in names)
    assert predicted == ["case_0", "case_1", "case_2", "case_3"]
    found = suggest(labelled, 20, "audit")
    assert {(item.case, item.index) for item in found.slices} == {
        ("case_1", 9),
        ("case_1", 13),
    }
    assert found.slices[0].reason.startswith(MISSING)
    after = snapshot(labelled.folder)
    assert [str(path) for path in after if path not in before] == ["audit.json"]
    assert all(after[path] == before[path] for path in before)


def test_a_corrected_label_is_doubted_no_longer(
    labelled, predict_ball, spheres, tmp_path
) -> None:
    run_audit(labelled, FakeWorkers(predict_ball), out=tmp_path / "audit")
    labelled.set_label("case_1", spheres.masks / "case_1.nii.gz")
    with pytest.raises(ProjectError, match="run semiseg audit"):
        suggest(labelled, 20, "audit")


def test_what_was_trained_is_not_trained_again_unless_a_label_changed(
    labelled, predict_ball, spheres, tmp_path
) -> None:
    out = tmp_path / "audit"
    workers = FakeWorkers(predict_ball)
    workers.during = lambda run: run.request_stop()
    run_audit(labelled, workers, out=out, stop=lambda: len(workers.started) > 0)
    assert not labelled.layout.audit.exists()
    workers.during = lambda run: None
    run_audit(labelled, workers, out=out)
    assert len(workers.started) == 3
    run_audit(labelled, workers, out=out)
    assert len(workers.started) == 3
    labelled.set_label("case_1", spheres.masks / "case_1.nii.gz")
    run_audit(labelled, workers, out=out)
    assert len(workers.started) == 4


def test_a_training_that_fails_and_a_wrong_number_are_told(
    labelled, predict_ball, tmp_path
) -> None:
    workers = FakeWorkers(predict_ball, broken={"audit": "no memory"})
    with pytest.raises(ProjectError, match="fold 1 of 2: no memory"):
        run_audit(labelled, workers, out=tmp_path / "audit")
    with pytest.raises(ConfigError, match="at least 2 folds, found 1"):
        next(ss.audit(labelled, CONFIG, folds=1))
    for name in ("case_1", "case_2", "case_3"):
        labelled.set_split(name, "test")
    with pytest.raises(ProjectError, match=r"at least 2 cases.*found 1; label more"):
        next(ss.audit(labelled, CONFIG))


def test_of_few_labels_each_is_a_fold(labelled, predict_ball, tmp_path) -> None:
    out, workers = tmp_path / "audit", FakeWorkers(predict_ball)
    events = list(ss.audit(labelled, CONFIG, folds=9, executor=workers, out=out))
    trials = [event for event in events if isinstance(event, TrialStarted)]
    assert [(one.number, one.total) for one in trials] == [(n, 4) for n in range(1, 5)]
    assert trials[1].text == "without the labels of case_1"


def test_test_labels_are_audited_and_never_learned(
    labelled, predict_ball, tmp_path
) -> None:
    labelled.set_split("case_1", "test")
    run_audit(labelled, FakeWorkers(predict_ball), out=tmp_path / "audit")
    for folder in (tmp_path / "audit").iterdir():
        copy = Project.open(folder)
        if "case_1" in copy.case_ids():
            assert not copy.case("case_1").has_label
    assert {item.case for item in suggest(labelled, 20, "audit").slices} == {"case_1"}


def test_reasons_name_the_kind_of_error_and_uncertain_voxels_count_less(
    ball_project, predict_ball
) -> None:
    case = ball_project.case("case_0")
    run = Run.create(ball_project, CONFIG)
    made = predict_ball(run, case)
    right = made.labels.copy()
    right[right > 0] = 1
    missing, beyond, swapped, unknown = (right.copy() for _ in range(4))
    missing[11] = 0
    beyond[11] = 1
    swapped[11][right[11] == 1] = 2
    unknown[11] = 255
    for label, reason in ((missing, MISSING), (beyond, BEYOND), (swapped, SWAPPED)):
        (place,) = doubtful_slices(label, made)
        assert (place.index, place.reason) == (11, reason)
        certain = 1 - made.uncertainty[11]
        wrong = label[11] != made.labels[11]
        drawn = ((label > 0) | (made.labels > 0)).sum(axis=(1, 2)).max()
        assert place.score == pytest.approx((certain * wrong).sum() / drawn, rel=1e-4)
    assert doubtful_slices(right, made) == doubtful_slices(unknown, made) == ()


def test_a_model_that_fails_in_many_slices_does_not_hide_an_error(
    ball_project, predict_ball
) -> None:
    case = ball_project.case("case_0")
    made = predict_ball(Run.create(ball_project, CONFIG), case, uncertainty=0.0)
    half = np.zeros_like(made.labels)
    half[:, :, :12] = 1  # the model is to find half of what is there
    failed = replace(made, labels=half, uncertainty=np.zeros(half.shape, np.float32))
    label = half.copy()
    label[:, :, :16] = 1
    assert doubtful_slices(label, failed) == ()
    label[5] = 0
    (place,) = doubtful_slices(label, failed)
    assert (place.index, place.reason) == (5, MISSING)
    swapped = doubtful_slices(half * 2, failed)
    assert len(swapped) == len(half)
    assert {item.reason for item in swapped} == {SWAPPED}


def test_a_damaged_audit_is_refused_in_one_line(labelled) -> None:
    labelled.layout.audit.write_text(json.dumps({"cases": {"case_0": {}}}))
    with pytest.raises(ProjectError, match="delete it and audit again"):
        LabelAudit.read(labelled)
