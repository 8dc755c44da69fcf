from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.layers import Labels

from napari_semiseg.widgets.editing import ActiveTime, Editing
from napari_semiseg.widgets.sources import corrective_dice

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.store import Project

SHAPE = (6, 8, 8)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(
    values: np.ndarray, reference: np.ndarray | None = None, **options: object
) -> tuple[Editing, Labels, list[np.ndarray]]:
    layer = Labels(values.copy())
    saved: list[np.ndarray] = []
    editing = Editing(
        layer,
        values if reference is None else reference,
        lambda mask: saved.append(mask.copy()),
        **options,
    )
    return editing, layer, saved


@pytest.fixture
def empty() -> np.ndarray:
    return np.zeros(SHAPE, np.uint8)


def test_pauses_longer_than_a_minute_are_not_counted() -> None:
    clock = Clock()
    active = ActiveTime(clock)
    for at in (0, 30, 90, 151, 181):
        clock.now = at
        active.tick()
    assert active.minutes == pytest.approx((30 + 60 + 30) / 60)


def test_painting_makes_dirty_and_undo_clean_again(
    qtbot: QtBot, empty: np.ndarray
) -> None:
    editing, layer, _ = make(empty)
    assert not editing.dirty
    layer.paint((2, 4, 4), 1)
    assert editing.dirty
    layer.undo()
    qtbot.waitUntil(lambda: not editing.dirty, timeout=3000)
    editing.stop()


def test_autosave_writes_the_mask_once_it_is_dirty(
    qtbot: QtBot, empty: np.ndarray
) -> None:
    editing, layer, saved = make(empty, autosave_s=0.05)
    qtbot.wait(150)
    assert saved == []
    layer.paint((2, 4, 4), 1)
    qtbot.waitUntil(lambda: len(saved) == 1, timeout=3000)
    assert np.array_equal(saved[0], layer.data)
    assert saved[0].dtype == np.uint8
    editing.mark_saved()
    assert not editing.dirty
    qtbot.wait(150)
    assert len(saved) == 1
    editing.stop()


def test_nothing_is_written_after_stop(qtbot: QtBot, empty: np.ndarray) -> None:
    editing, layer, saved = make(empty, autosave_s=0.05)
    layer.paint((2, 4, 4), 1)
    editing.stop()
    layer.paint((3, 4, 4), 1)
    qtbot.wait(200)
    assert saved == []


def test_counts_follow_the_paint(qtbot: QtBot, empty: np.ndarray) -> None:
    editing, layer, _ = make(empty)
    layer.brush_size = 1
    with qtbot.waitSignal(_qt(editing), timeout=3000):
        layer.paint((2, 4, 4), 1)
    counts: list[dict[int, int]] = []
    editing.counted.connect(counts.append)
    editing.recount()
    assert counts[-1] == {0: empty.size - 1, 1: 1}
    editing.stop()


def _qt(editing: Editing) -> object:
    return editing._count.timeout


def test_only_painted_and_marked_slices_are_annotated(
    qapp: object, empty: np.ndarray
) -> None:
    editing, layer, _ = make(empty)
    layer.paint((2, 4, 4), 1)
    editing.mark_done(4)
    stored = editing.touched_only()
    assert [bool((plane != 255).all()) for plane in stored] == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]
    assert (stored[2] == 1).any()
    assert (stored[4] == 0).all()
    assert stored.dtype == np.uint8
    editing.unmark(4)
    assert (editing.touched_only()[4] == 255).all()
    editing.stop()


def test_a_proposal_that_nobody_touched_is_not_annotation(
    qapp: object, empty: np.ndarray
) -> None:
    proposal = empty.copy()
    proposal[1:5, 2:5, 2:5] = 1
    editing, layer, _ = make(proposal)
    layer.paint((3, 6, 6), 1)
    stored = editing.touched_only()
    assert (stored[[0, 1, 2, 4, 5]] == 255).all()
    assert (stored[3] == layer.data[3]).all()
    editing.stop()


def test_slices_of_an_accepted_label_stay_annotated(
    qapp: object, empty: np.ndarray
) -> None:
    label = np.full(SHAPE, 255, np.uint8)
    label[1] = 0
    label[1, 2:4, 2:4] = 1
    editing, layer, _ = make(label, accepted=True)
    layer.brush_size = 1
    layer.paint((3, 4, 4), 1)
    stored = editing.touched_only()
    assert np.array_equal(stored[1], label[1])
    assert (stored[[0, 2, 4, 5]] == 255).all()
    assert stored[3].sum() == 1
    assert not (editing.whole() == 255).any()
    editing.stop()


def test_corrective_dice_ignores_what_nobody_annotated(project: Project) -> None:
    proposed = np.zeros(SHAPE, np.uint8)
    proposed[2:4, 2:4, 2:4] = 1
    accepted = proposed.copy()
    assert corrective_dice(proposed, accepted, project.labels) == 1
    accepted[2] = 255
    accepted[3, 2, 2:4] = 0
    expected = 2 * 2 / (4 + 2)
    assert corrective_dice(proposed, accepted, project.labels) == pytest.approx(
        expected
    )
