"""Annotations of one case in two windows, and acceptances that are undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_semiseg.imaging.mask_encoding import MaskEncoding
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases.versions import MaskVersions
from napari_semiseg.project.review.undo import kept_masks
from napari_semiseg.widgets.canvas.annotation import ALL, PAINTED, Annotation
from napari_semiseg.widgets.canvas.case_model import CaseModel, OpenCase
from napari_semiseg.widgets.canvas.editing import Editing
from napari_semiseg.widgets.canvas.mask_layer import MaskLayer
from napari_semiseg.widgets.canvas.mask_sources import choose_mask
from napari_semiseg.widgets.common.preferences import choose
from napari_semiseg.widgets.common.session import Session
from widgets.viewing import Answers, store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_semiseg.project.project import Project

CASE = "case_0"


class Window:
    """What a panel does with a case, without a canvas."""

    def __init__(self, project: Project) -> None:
        self.session = Session()
        self.session.open_project(project.folder)
        self.answers, self.model = Answers(), CaseModel()
        self.annotation = Annotation(self.session, self.model, self.answers)
        self.said: list[str] = []
        self.session.status_changed.connect(self.said.append)
        self.session.offered.connect(lambda text, *_: self.said.append(text))

    def open(self, name: str = CASE) -> None:
        self.annotation.leave()
        project = self.session.project
        case, encoding = project.case(name), MaskEncoding(project.labels)
        versions = MaskVersions.of(case.folder)
        run = project.prediction_run(name)
        prediction = None if run is None else run.read_prediction(name, case.geometry)
        mask = choose_mask(case, prediction, encoding)
        layer = MaskLayer(mask.values)
        save = self.annotation.autosave
        editing = Editing(layer, mask.reference, encoding, save)
        self.model.start(
            OpenCase(
                project,
                case,
                prediction,
                prediction,
                mask,
                editing,
                case.read_draft(),
                versions,
            )
        )

    @property
    def editing(self) -> Editing:
        return self.model.editing

    def paint(self, row: int, value: int = 1) -> None:
        """Paint a row of voxels of slice 0 by which it is known again."""
        self.editing.layer.put(
            np.full((1, 1, 14), value, np.uint8),
            (slice(0, 1), slice(row, row + 1), slice(0, 14)),
        )
        self.editing.recount()

    def scroll(self, slices: range) -> None:
        for index in slices:
            self.editing.look(0, index)


@pytest.fixture
def window(qapp: object, project: Project) -> Iterator[Callable[[], Window]]:
    made: list[Window] = []

    def make() -> Window:
        made.append(Window(project))
        return made[-1]

    yield make
    for one in made:
        one.annotation.leave()
        one.session.close_project()


def rows_in(labels: np.ndarray | None) -> set[int]:
    return set() if labels is None else set(np.flatnonzero((labels[0] == 1).all(1)))


def draft(project: Project) -> set[int]:
    return rows_in(project.case(CASE).read_draft())


def kept(project: Project) -> list[set[int]]:
    case = project.case(CASE)
    paths = [case.folder.previous / name for name in kept_masks(case)]
    return [rows_in(read_labels(path, case.geometry)) for path in paths]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    target = "napari_semiseg.widgets.common.background.show_error"
    monkeypatch.setattr(target, found.append)
    return found


def test_the_second_window_is_told_and_both_drafts_are_there(
    window: Callable[[], Window], project: Project, told: list[str]
) -> None:
    a, b = window(), window()
    for one, row in ((a, 1), (b, 2)):
        one.open()
        one.paint(row)
    assert a.annotation.save_draft()
    assert b.annotation.save_draft()
    assert draft(project) == {1}
    assert kept(project) == [{2}]
    assert "another window or program" in told[0]
    assert f"previous/{kept_masks(project.case(CASE))[0]}" in told[0]
    b.paint(3)
    b.annotation.save_draft()  # again and again into the same file
    assert (draft(project), kept(project), len(told)) == ({1}, [{2, 3}], 1)
    assert b.annotation.may_leave()
    assert b.answers.asked == [f"leave {CASE}"]
    b.annotation.take_over()
    b.annotation.save_draft()
    assert draft(project) == {2, 3}
    assert {1} in map(frozenset, kept(project))
    a.paint(4)
    a.annotation.save_draft()
    assert (draft(project), len(told)) == ({2, 3}, 2)
    assert {1, 4} in map(frozenset, kept(project))


def test_accepting_leaves_the_draft_of_the_other_window(
    window: Callable[[], Window], project: Project, told: list[str]
) -> None:
    a, b = window(), window()
    for one, row in ((a, 1), (b, 2)):
        one.open()
        one.paint(row)
    b.annotation.save_draft()
    assert a.annotation.accept(painted_only=True)  # told that B has a draft
    assert told
    assert rows_in(project.case(CASE).read_label()) == {1}
    assert draft(project) == {2}
    b.answers.to_confirm = False
    b.paint(3)
    assert b.annotation.accept(painted_only=True) is None
    assert b.answers.asked == ["Replace the label of somebody else?"]
    assert rows_in(project.case(CASE).read_label()) == {1}
    b.answers.to_confirm = True
    assert b.annotation.accept(painted_only=True)
    assert rows_in(project.case(CASE).read_label()) == {2, 3}
    assert {1} in map(frozenset, kept(project))


def test_a_label_from_a_file_is_told_at_the_next_save(
    window: Callable[[], Window], project: Project, told: list[str]
) -> None:
    a = window()
    a.open()
    a.paint(1)
    a.annotation.save_draft()
    shape = project.case(CASE).geometry.shape_zyx
    project.set_label(CASE, np.ones(shape, np.uint8))  # as semiseg label does
    assert kept(project) == [{1}]
    a.paint(2)
    a.annotation.save_draft()
    assert "last accepted by" in told[0]
    assert {1, 2} in map(frozenset, kept(project))


def test_the_draft_of_an_earlier_session_is_kept_once(
    window: Callable[[], Window], project: Project
) -> None:
    for row in (1, 2):
        one = window()
        one.open()
        for more in range(3):
            one.paint(row + 3 * more)
            one.annotation.save_draft()
    assert draft(project) == {1, 2, 4, 5, 7, 8}
    assert kept(project) == [{1, 4, 7}]


@pytest.mark.parametrize(
    ("answer", "stored"), [(ALL, {1, 5}), (PAINTED, {1}), (None, set())]
)
def test_what_is_filled_in_is_asked_about_and_comes_back(
    window: Callable[[], Window],
    project: Project,
    answer: str | None,
    stored: set[int],
) -> None:
    a = window()
    a.open()
    a.paint(1)
    a.paint(5, a.editing.encoding.proposed[1])  # as Fill between does
    before = a.editing.values.copy()
    a.answers.to_choose = answer
    text = a.annotation.accept(painted_only=True)
    assert "Painted or done: 14 voxels in 1 axial slice" in a.answers.asked[0]
    assert "not painted: 14 voxels in 1 axial slice" in a.answers.asked[0]
    assert rows_in(project.case(CASE).read_label()) == stored
    if answer is None:
        assert text is None
        return
    assert ("14 that are only proposed are not" in text) == (answer == PAINTED)
    assert a.annotation.undo_accept() == CASE
    case = project.case(CASE)
    assert not case.has_label
    assert np.array_equal(case.read_draft(), before)
    assert a.annotation.undo_accept() is None
    assert "Nothing was accepted" in a.said[-1]


def test_a_model_s_proposals_are_left_out_with_a_word(
    window: Callable[[], Window], project: Project
) -> None:
    store_prediction(project, CASE)
    a = window()
    a.open()
    a.paint(1)
    text = a.annotation.accept(painted_only=True)
    assert a.answers.asked == []
    assert text.endswith("14 voxels are stored, 80 that are only proposed are not.")


def test_the_question_about_masks_without_a_look_can_be_switched_off(
    window: Callable[[], Window], project: Project
) -> None:
    choose("ask_untouched", False)
    a = window()
    for number in range(3):
        store_prediction(project, f"case_{number}")
        a.open(f"case_{number}")
        assert "unverified" in a.annotation.accept(painted_only=False)
    assert a.answers.asked == []


def test_masks_accepted_without_a_look_are_unverified_and_asked_about(
    window: Callable[[], Window], project: Project
) -> None:
    a = window()
    for number in range(3):
        name = f"case_{number}"
        store_prediction(project, name)
        a.open(name)
        a.editing.look(0, 5)
        a.answers.to_confirm = number < 2
        text = a.annotation.accept(painted_only=False)
        assert a.answers.asked == (["Accept without a look?"] if number == 2 else [])
        assert (text is None) == (number == 2)
        if text:
            assert "unverified: unchanged, 25 % viewed" in text
            assert project.case(name).acceptance == "unverified"
    a.scroll(range(3, 7))
    text = a.annotation.accept(painted_only=False)
    assert text == "Accepted case_2."
    assert project.case("case_2").acceptance == "seen"
    a.session.cases_changed.emit(None)
    verified = [item.verified for item in a.session.corrections()]
    assert verified == [False, False, True]
    assert a.session.estimator().counts == {"entropy": 1}


def test_opening_alone_does_not_verify_what_is_accepted_elsewhere(
    window: Callable[[], Window], project: Project
) -> None:
    from napari_semiseg.project.review.accept import accept

    a = window()
    for name, seen in (("case_0", range(4, 5)), ("case_1", range(2, 9))):
        store_prediction(project, name)
        a.open(name)
        a.scroll(seen)
        a.annotation.leave()
        accept(project, [name])
    assert project.case("case_0").acceptance == "unverified"
    assert project.case("case_1").acceptance == "seen"
