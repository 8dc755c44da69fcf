from __future__ import annotations

import gc
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from filelock import FileLock

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import LOCK, PATIENCE_S
from napari_semiseg.project.runs.run import Run
from napari_semiseg.widgets.common.background import in_background
from napari_semiseg.widgets.common.next_step import Do, NextStep
from napari_semiseg.widgets.common.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project


def finished_run(project: Project) -> Run:
    run = Run.create(project, TrainingConfig(minutes=1))
    run.append(Started(run=run.id, method="ug_mcl", pid=1))
    run.append(Finished(run=run.id, reason="completed", step=5, seconds=60))
    return run


def label(project: Project, case_id: str, value: int = 1) -> None:
    case = project.case(case_id)
    project.set_label(case_id, np.full(case.geometry.shape_zyx, value, np.uint8))


def test_next_step_without_a_project() -> None:
    assert Session().next_step().do is Do.CREATE


def test_a_first_label_is_asked_of_a_case_that_is_trained_on(
    session: Session, project: Project
) -> None:
    project.set_split("case_0", Split.TEST)
    project.set_split("case_1", Split.VALIDATION)
    session.cases_changed.emit(None)
    assert session.next_step().case == "case_2"
    for name in ("case_2", "case_3"):
        project.set_split(name, Split.VALIDATION)
    session.cases_changed.emit(None)
    assert session.next_step().do is Do.ADD


def test_a_proposal_is_the_first_label_where_every_case_has_one(
    session: Session,
    project: Project,
    predict: Callable[[str, float], None],
) -> None:
    for name in project.case_ids():
        predict(name, 0.5)
    session.runs_changed.emit()
    step = session.next_step()
    assert (step.do, step.case) == (Do.LABEL, "case_0")


def test_masks_are_exported_once_only_test_cases_wait(
    session: Session, project: Project
) -> None:
    finished_run(project)
    project.set_split("case_0", Split.TEST)
    for number in range(1, 4):
        label(project, f"case_{number}")
    run = finished_run(project)
    session.cases_changed.emit(None)
    assert run.created
    assert session.next_step() == NextStep(Do.EXPORT, "export the masks")


def test_next_step_follows_the_work(session: Session, project: Project) -> None:
    assert session.next_step().text.startswith("label a first scan")
    label(project, "case_0")
    session.cases_changed.emit({"case_0"})
    assert session.next_step().text == "train, 1 label is new"
    finished_run(project)
    session.runs_changed.emit()
    assert session.next_step().text.startswith("propose masks for the rest")
    for number in range(1, 4):
        label(project, f"case_{number}")
    session.cases_changed.emit(None)
    assert session.next_step().text.startswith("export the masks")


def test_next_step_names_the_unfinished_draft(
    session: Session, project: Project
) -> None:
    shape = project.case("case_2").geometry.shape_zyx
    project.save_draft("case_2", np.ones(shape, np.uint8))
    session.cases_changed.emit({"case_2"})
    assert "case_2" in session.next_step().text


def test_a_labelled_test_case_is_nothing_to_train_with(
    session: Session, project: Project
) -> None:
    label(project, "case_0")
    project.set_split("case_0", Split.TEST)
    session.cases_changed.emit({"case_0"})
    assert session.next_step().text.startswith("label a first scan")


def test_cases_are_read_again_only_when_something_changed(
    session: Session, project: Project
) -> None:
    before = session.cases()
    assert session.cases()[0] is before[0]
    label(project, "case_1")
    session.cases_changed.emit({"case_1"})
    after = session.cases()
    assert after[0] is before[0]
    assert after[1].state is CaseState.LABELLED


def test_opening_a_folder_that_is_no_project_keeps_the_open_one(
    session: Session, tmp_path: Path
) -> None:
    kept = session.project
    with pytest.raises(ProjectError):
        session.open_project(tmp_path / "nothing")
    assert session.project is kept


def test_somebody_with_unsaved_edits_keeps_the_project_open(session: Session) -> None:
    session.may_leave.append(lambda: False)
    assert not session.close_project()
    assert session.project is not None
    session.may_leave.clear()
    assert session.close_project()
    assert session.project is None


def test_the_windows_thread_does_not_wait_for_another_program(
    session: Session, project: Project
) -> None:
    """The thread of some work in the background does, for as long as ever."""
    folder = project.layout.case("case_0").path
    began = time.monotonic()
    with (
        FileLock(folder / LOCK),  # not the one that this process takes twice
        pytest.raises(ProjectError, match="another program"),
    ):
        label(project, "case_0")
    assert time.monotonic() - began < 5
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(PATIENCE_S.get).result() == 20


def test_that_another_run_is_shown_is_told_once(
    session: Session, project: Project
) -> None:
    first = finished_run(project)
    heard: list[bool] = []
    session.runs_changed.connect(lambda: heard.append(True))
    session.show_run(first.id)
    session.show_run(first.id)
    assert session.run_id == first.id
    assert heard == [True]


def test_work_that_is_done_keeps_nothing_alive(
    session: Session, window: None, qtbot: QtBot
) -> None:
    thing: set[str] = {"scan"}
    seen: list[int] = []
    gone = weakref.ref(thing)
    in_background(session, "Looking", partial(len, thing), seen.append, quiet=True)
    del thing
    qtbot.waitUntil(lambda: seen == [1], timeout=20_000)
    qtbot.wait(50)
    gc.collect()
    assert gone() is None


def test_a_damaged_case_is_named_and_the_others_are_shown(ball_project) -> None:
    ball_project.layout.case("case_3").json.write_text("{")
    session = Session()
    session.open_project(ball_project.folder)
    assert [case.id for case in session.cases()] == [
        "case_0",
        "case_1",
        "case_2",
        "case_4",
    ]
    assert session.next_step().text == "check 1 case that cannot be read (case_3)"
    ball_project.layout.case("case_4").json.unlink()
    session.cases_changed.emit({"case_4"})
    assert [case.id for case in session.cases()] == ["case_0", "case_1", "case_2"]
