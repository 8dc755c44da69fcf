"""Several processes decide about one case at the same moment."""

from __future__ import annotations

import multiprocessing
import sys

import numpy as np
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import Conflict
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases.versions import MaskVersions
from napari_semiseg.project.project import Project
from napari_semiseg.project.review.accept import accept
from napari_semiseg.project.review.undo import kept_masks
from napari_semiseg.project.runs.run import Run
from synthetic import SIZE

CASE = "case_2"
TRIES = 60

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")


def mask(number: int) -> np.ndarray:
    labels = np.zeros((SIZE, SIZE, SIZE), np.uint8)
    labels.flat[: number + 1] = 1
    return labels


def number_in(labels: np.ndarray) -> int:
    return int(labels.sum()) - 1


def person(project: Project, number: int) -> None:
    """Accept a mask in the panel, which knows the case as it was at the beginning."""
    versions = MaskVersions(None, None)
    try:
        project.set_label(CASE, mask(number), details={"seen": True}, expected=versions)
    except Conflict:  # told, asked, and said yes
        project.set_label(CASE, mask(number), details={"seen": True})


def model(project: Project, number: int) -> None:
    accept(project, [CASE])


def draw(project: Project, number: int) -> None:
    """Save a draft, and keep it aside where somebody else has one."""
    try:
        project.save_draft(CASE, mask(number), expected=MaskVersions(None, None))
    except Conflict:
        project.keep_edits(CASE, mask(number))


def at_once(folder, *works) -> None:
    """Do each work in a process of its own, all from one moment on."""
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(len(works))

    def work(number: int) -> None:
        project = Project.open(folder)
        project.case(CASE)
        start.wait()
        works[number](project, number)

    children = [fork.Process(target=work, args=(n,)) for n in range(len(works))]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0] * len(works)


@pytest.fixture
def project(ball_project, predict_ball) -> Project:
    run = Run.create(ball_project, TrainingConfig())
    case = ball_project.case(CASE)
    run.write_prediction(predict_ball(run, case), case.image)
    return ball_project


def clear(project: Project) -> None:
    """Begin anew: without label, draft and kept masks."""
    case = project.case(CASE)
    folder = case.folder
    for path in (folder.label, folder.draft, *folder.previous.glob("*")):
        path.unlink(missing_ok=True)
    record = project.case(CASE).record
    project._records.write(record.model_copy(update={"history": record.history[:1]}))


def test_no_prediction_takes_the_place_of_a_person_s_mask(project) -> None:
    for _ in range(TRIES):
        clear(project)
        at_once(project.folder, person, model)
        case = project.case(CASE)
        assert number_in(case.read_label()) == 0
        assert case.acceptance == "seen"
        actions = [entry.action for entry in case.record.history]
        assert actions in (["add", "label"], ["add", "accept", "label"])
        assert len(kept_masks(case)) == len(actions) - 2


def test_a_prediction_is_accepted_once(project) -> None:
    for _ in range(TRIES // 6):
        clear(project)
        at_once(project.folder, model, model, model)
        actions = [entry.action for entry in project.case(CASE).record.history]
        assert actions == ["add", "accept"]


def test_every_draft_and_label_of_several_windows_is_there(project) -> None:
    for _ in range(TRIES // 6):
        clear(project)
        at_once(project.folder, draw, person, draw, person)
        case = project.case(CASE)
        folder = case.folder
        paths = [folder.previous / name for name in kept_masks(case)]
        paths += [path for path in (folder.label, folder.draft) if path.exists()]
        there = {number_in(read_labels(path, case.geometry)) for path in paths}
        assert there == {0, 1, 2, 3}
