"""Nothing that a person has drawn is lost: drafts, versions, undo."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import Conflict, ProjectError
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases.versions import KEPT, MaskVersions
from napari_semiseg.project.doctor import check_project
from napari_semiseg.project.importing.match_masks import attach
from napari_semiseg.project.importing.preview import ImportRequest, Pair, import_pairs
from napari_semiseg.project.review.accept import accept, reopen
from napari_semiseg.project.review.undo import kept_masks, restore, undo
from napari_semiseg.project.runs.run import Run
from synthetic import SIZE, snapshot

if TYPE_CHECKING:
    from napari_semiseg.project.project import Project

CASE = "case_2"


def mask(number: int) -> np.ndarray:
    """A mask by which it is known again."""
    labels = np.zeros((SIZE, SIZE, SIZE), np.uint8)
    labels[number] = 1
    return labels


def number_in(labels: np.ndarray | None) -> int | None:
    return None if labels is None else int(labels.any(axis=(1, 2)).argmax())


def found(project: Project, name: str = CASE) -> tuple[int | None, int | None]:
    """Numbers of label and draft."""
    case = project.case(name)
    return number_in(case.read_label()), number_in(case.read_draft())


def kept(project: Project, name: str = CASE) -> list[int | None]:
    """Numbers of all masks that are kept, in any order."""
    case = project.case(name)
    paths = [case.folder.previous / one for one in kept_masks(case)]
    return sorted(number_in(read_labels(path, case.geometry)) for path in paths)


@pytest.fixture
def run(ball_project, predict_ball) -> Run:
    made = Run.create(ball_project, TrainingConfig())
    for case in ball_project.cases():
        made.write_prediction(predict_ball(made, case), case.image)
    return made


class TestDrafts:
    @pytest.mark.parametrize("how", ["label", "attach", "import", "discard", "save"])
    def test_whatever_takes_a_draft_s_place_keeps_it(
        self, ball_project, spheres, how
    ) -> None:
        ball_project.save_draft(CASE, mask(5))
        path = spheres.masks / f"{CASE}.nii.gz"
        notes = {}
        if how == "label":
            ball_project.set_label(CASE, mask(1))
        elif how == "attach":
            notes = attach(ball_project, spheres.masks, [CASE]).notes
        elif how == "import":
            pair = Pair(CASE, None, path, known=True)
            request = ImportRequest(())
            notes = import_pairs(ball_project, request, [pair])[0].notes
        elif how == "discard":
            assert ball_project.discard_draft(CASE) in kept_masks(
                ball_project.case(CASE)
            )
        else:
            ball_project.save_draft(CASE, mask(6))
        assert kept(ball_project) == [5]
        if how in ("attach", "import"):
            [name] = kept_masks(ball_project.case(CASE))
            assert name in notes[CASE][0]

    def test_a_dry_run_says_what_would_become_of_drafts(
        self, ball_project, spheres
    ) -> None:
        ball_project.save_draft(CASE, mask(5))
        before = snapshot(ball_project.folder)
        report = attach(ball_project, spheres.masks, [CASE], dry_run=True)
        assert "not accepted will be kept" in report.notes[CASE][0]
        assert snapshot(ball_project.folder) == before

    def test_mending_a_torn_label_leaves_the_draft_alone(self, ball_project) -> None:
        for number in (1, 2):
            ball_project.set_label(CASE, mask(number))
        ball_project.save_draft(CASE, mask(5))
        ball_project.case(CASE).folder.label.write_bytes(b"torn")
        check_project(ball_project.folder, mend=True)
        assert found(ball_project) == (1, 5)

    def test_a_mended_label_is_what_it_was_when_it_was_kept(
        self, ball_project, run
    ) -> None:
        accept(ball_project, [CASE])
        ball_project.set_label(CASE, mask(1), details={"seen": True})
        assert not ball_project.case(CASE).accepted_unseen
        ball_project.case(CASE).folder.label.write_bytes(b"torn")
        check_project(ball_project.folder, mend=True)
        assert ball_project.case(CASE).accepted_unseen

    def test_the_second_writer_is_told_and_changes_nothing(self, ball_project) -> None:
        folder = ball_project.case(CASE).folder
        first = second = MaskVersions.of(folder)
        first = ball_project.save_draft(CASE, mask(1), expected=first)
        with pytest.raises(Conflict, match="another window or program"):
            ball_project.save_draft(CASE, mask(2), expected=second)
        with pytest.raises(Conflict):
            ball_project.discard_draft(CASE, expected=second)
        assert found(ball_project) == (None, 1)
        first = ball_project.save_draft(CASE, mask(3), expected=first, keeping=False)
        assert (found(ball_project), kept(ball_project)) == ((None, 3), [])
        name = ball_project.keep_edits(CASE, mask(2))
        assert ball_project.keep_edits(CASE, mask(4), name) == name
        assert kept(ball_project) == [4]

    def test_an_acceptance_leaves_the_draft_of_somebody_else(
        self, ball_project
    ) -> None:
        opened = MaskVersions.of(ball_project.case(CASE).folder)
        ball_project.save_draft(CASE, mask(7))  # another window
        ball_project.set_label(CASE, mask(1), expected=opened)
        assert found(ball_project) == (1, 7)
        with pytest.raises(Conflict, match="last accepted by"):
            ball_project.set_label(CASE, mask(2), expected=opened)
        assert found(ball_project) == (1, 7)

    def test_a_long_session_does_not_push_the_kept_ones_out(self, ball_project) -> None:
        ball_project.save_draft(CASE, mask(1))
        now = ball_project.save_draft(CASE, mask(2))
        for number in range(3, 3 + 2 * KEPT):
            now = ball_project.save_draft(
                CASE, mask(number), expected=now, keeping=False
            )
        assert kept(ball_project) == [1]


class TestUndo:
    def test_label_and_draft_are_as_before(self, ball_project) -> None:
        ball_project.set_label(CASE, mask(1), minutes=2.0)
        ball_project.save_draft(CASE, mask(5))
        entry = ball_project.set_label(CASE, mask(2), minutes=3.0)
        assert found(ball_project) == (2, None)
        assert undo(ball_project, CASE, expected=entry) == entry
        assert found(ball_project) == (1, 5)
        undo(ball_project, CASE)
        assert found(ball_project) == (None, 5)
        with pytest.raises(ProjectError, match="expected an acceptance to undo"):
            undo(ball_project, CASE)
        assert {1, 2, 5} <= set(kept(ball_project))
        assert sum(e.minutes or 0 for e in ball_project.case(CASE).record.standing) == 5

    def test_how_it_was_accepted_comes_back_too(self, ball_project, run) -> None:
        accept(ball_project, [CASE])
        assert ball_project.case(CASE).acceptance == "unseen"
        ball_project.set_label(CASE, mask(1))
        assert ball_project.case(CASE).acceptance == "seen"
        undo(ball_project, CASE)
        assert ball_project.case(CASE).acceptance == "unseen"
        undo(ball_project, CASE)
        assert ball_project.case(CASE).state == "proposed"
        assert accept(ball_project, [CASE]).accepted == [CASE]

    def test_a_reopening_is_undone(self, ball_project) -> None:
        ball_project.set_label(CASE, mask(1))
        reopen(ball_project, [CASE])
        undo(ball_project, CASE)
        assert found(ball_project) == (1, None)
        assert ball_project.case(CASE).annotated_fraction == 1.0

    def test_what_others_accepted_since_is_not_undone(self, ball_project) -> None:
        mine = ball_project.set_label(CASE, mask(1))
        ball_project.set_label(CASE, mask(2), by="Bo")
        with pytest.raises(Conflict, match="Bo has changed the label since"):
            undo(ball_project, CASE, expected=mine)
        assert found(ball_project) == (2, None)

    def test_what_is_kept_no_longer_cannot_come_back(self, ball_project) -> None:
        for number in range(3):
            ball_project.set_label(CASE, mask(number))
        for path in ball_project.case(CASE).folder.previous.iterdir():
            path.unlink()
        before = snapshot(ball_project.folder)
        with pytest.raises(ProjectError, match="semiseg restore"):
            undo(ball_project, CASE)
        assert snapshot(ball_project.folder) == before

    def test_any_kept_mask_becomes_the_draft(self, ball_project) -> None:
        for number in range(3):
            ball_project.set_label(CASE, mask(number))
        ball_project.save_draft(CASE, mask(9))
        newest = kept_masks(ball_project.case(CASE))[0]
        restore(ball_project, CASE, newest)
        assert found(ball_project) == (2, 1)
        assert 9 in kept(ball_project)
        for name in ("x.nii.gz", "../label.nii.gz"):
            with pytest.raises(ProjectError, match="one of its kept masks"):
                restore(ball_project, CASE, name)


@pytest.mark.parametrize("age", [-1e6, 1e6])
def test_order_never_follows_the_times_of_files(ball_project, age) -> None:
    """A copied folder, or a clock that is wrong, hides no draft and swaps no label."""
    for number in range(3):
        ball_project.set_label(CASE, mask(number))
    ball_project.save_draft(CASE, mask(9))
    folder = ball_project.case(CASE).folder
    for path in (folder.draft, *folder.previous.iterdir()):
        os.utime(path, (path.stat().st_mtime + age,) * 2)
    undo(ball_project, CASE)
    assert found(ball_project) == (1, 9)
    undo(ball_project, CASE)
    assert found(ball_project) == (0, 9)
