"""What looking at a case leaves in its history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from napari_semiseg.project.review.accept import accept
from napari_semiseg.widgets.canvas.editing import IDLE_S
from napari_semiseg.widgets.common.compat import camera_of
from widgets.viewing import store_prediction

if TYPE_CHECKING:
    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.common.session import Session


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watch(view: CaseView, clock: Clock) -> None:
    """Give the open case another clock."""
    view.editing.active._clock = clock
    view.editing.active._last = clock.now


def views(project: Project, name: str) -> list[Any]:
    history = project.case(name).record.history
    return [entry for entry in history if entry.action == "view"]


def test_a_case_that_was_open_with_its_prediction_is_seen(
    view: CaseView, project: Project
) -> None:
    run = store_prediction(project, "case_0")
    store_prediction(project, "case_1")
    view.open("case_0")
    view.open("case_2")
    [entry] = views(project, "case_0")
    assert (entry.run, entry.step) == (run.id, 5)
    report = accept(project, ["case_0", "case_1"])
    assert report.unseen == ["case_1"]
    view.open("case_0")
    view.open("case_2")
    assert len(views(project, "case_0")) == 1  # nothing new to say


def test_time_counts_while_the_user_looks_and_idle_time_does_not(
    view: CaseView, project: Project, clock: Clock
) -> None:
    view.open("case_0")
    watch(view, clock)
    for seconds, move in (
        (30, lambda: view.go_to(0, 2)),
        (20, lambda: setattr(camera_of(view.viewer), "zoom", 7.5)),
        (10, lambda: setattr(view.viewer.cursor, "position", (1, 2, 3))),
        (IDLE_S + 1, lambda: view.go_to(0, 4)),
    ):
        clock.now += seconds
        move()
    view.open("case_1")
    [entry] = views(project, "case_0")
    assert entry.minutes == 1.0
    assert (entry.run, entry.step) == (None, None)


def test_minutes_are_counted_once_whatever_is_done_with_the_case(
    view: CaseView, project: Project, clock: Clock, session: Session
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    watch(view, clock)
    clock.now += 30
    view.mask.paint((5, 9, 9), 1)
    view.save_draft()
    view.open("case_1")
    view.open("case_0")
    watch(view, clock)
    clock.now += 45
    assert view.accept()
    view.open("case_1")
    history = project.case("case_0").record.history
    spent = [(e.action, e.minutes) for e in history if e.minutes is not None]
    assert spent == [("view", 0.5), ("label", 0.75)]
    [found] = session.corrections()
    assert (found.minutes, found.seen) == (1.25, True)


def test_the_last_case_is_noted_when_the_project_is_closed(
    view: CaseView, project: Project, session: Session
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    session.close_project()
    assert len(views(project, "case_0")) == 1


def test_unseen_is_said_when_the_case_is_opened(
    view: CaseView, project: Project, session: Session
) -> None:
    store_prediction(project, "case_0")
    accept(project, ["case_0"])
    session.cases_changed.emit({"case_0"})
    view.open("case_0")
    assert "Accepted unseen" in view.text
    assert project.case("case_0").accepted_unseen  # looking alone is no acceptance
    assert view.accept()
    assert not project.case("case_0").accepted_unseen
    assert "unseen" not in view.text
