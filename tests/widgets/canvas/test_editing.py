from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.imaging.mask_encoding import MaskEncoding
from napari_semiseg.widgets.canvas.editing import ActiveTime, Editing
from napari_semiseg.widgets.canvas.mask_layer import MaskLayer

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


SHAPE = (6, 8, 8)
ENCODING = MaskEncoding(LabelScheme.parse(["1=left atrium", "2=vein"]))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make(
    values: np.ndarray, reference: np.ndarray | None = None, **options: object
) -> tuple[Editing, MaskLayer, list[np.ndarray]]:
    layer = MaskLayer(values.copy())
    saved: list[np.ndarray] = []

    def save(mask: np.ndarray) -> bool:
        saved.append(mask.copy())
        return True

    before = values if reference is None else reference
    editing = Editing(layer, before, ENCODING, save, **options)
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


def test_autosave_tries_again_until_the_draft_is_written(
    qtbot: QtBot, empty: np.ndarray
) -> None:
    layer, answers = MaskLayer(empty.copy()), [True, False, False]
    editing = Editing(layer, empty, ENCODING, lambda _: answers.pop(), autosave_s=0.05)
    layer.paint((2, 4, 4), 1)
    qtbot.waitUntil(lambda: not answers, timeout=3000)
    assert editing.dirty
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
    return editing._count.triggered


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scribbles_count_voxel_by_voxel_and_done_slices_whole(
    qapp: object, axis: int
) -> None:
    editing, layer, _ = make(np.full(SHAPE, 255, np.uint8), np.zeros(SHAPE, np.uint8))
    layer.brush_size = 1
    layer.paint((2, 4, 4), 1)
    layer.paint((2, 5, 5), 0)
    assert np.count_nonzero(editing.annotated_only() != 255) == 2
    assert editing.toggle_done(axis, 4)
    assert editing.is_done(axis, 4)
    stored = editing.annotated_only()
    assert stored.dtype == np.uint8
    assert not (np.take(stored, 4, axis) == 255).any()
    assert stored[2, 4, 4] == 1
    assert stored[2, 5, 5] == 0
    extra = 0 if axis == 0 else 1
    assert np.count_nonzero(stored != 255) == np.take(stored, 4, axis).size + 2 - extra
    editing.recount()
    assert editing.annotated == pytest.approx((stored != 255).mean())
    for other in range(3):
        others = tuple(at for at in range(3) if at != other)
        found = editing.annotated_slices(other)
        assert found == pytest.approx((stored != 255).mean(axis=others))
    editing.stop()


def test_done_is_one_step_and_can_be_taken_back(qapp: object) -> None:
    editing, layer, _ = make(np.full(SHAPE, 255, np.uint8), np.zeros(SHAPE, np.uint8))
    layer.brush_size = 1
    layer.paint((2, 4, 4), 1)
    painted = layer.data.copy()
    editing.toggle_done(0, 2)
    assert (layer.data[2] == 1).sum() == 1
    assert not editing.toggle_done(0, 2)
    assert np.array_equal(layer.data, painted)
    layer.undo()
    assert editing.is_done(0, 2)
    layer.undo()
    assert np.array_equal(layer.data, painted)
    editing.stop()


def test_a_proposal_that_nobody_touched_is_not_annotation(
    qapp: object, empty: np.ndarray
) -> None:
    proposal = empty.copy()
    proposal[1:5, 2:5, 2:5] = 1
    editing, layer, _ = make(ENCODING.propose(proposal), proposal)
    assert (editing.annotated_only() == 255).all()
    assert np.array_equal(editing.whole(), proposal)
    assert editing.changed_voxels() == 0
    layer.brush_size = 1
    layer.paint((3, 3, 3), 1)
    layer.paint((3, 6, 6), 1)
    assert np.count_nonzero(editing.annotated_only() == 1) == 2
    assert editing.changed_voxels() == 1
    editing.toggle_done(0, 3)
    expected = proposal[3].copy()
    expected[6, 6] = 1
    assert np.array_equal(editing.annotated_only()[3], expected)
    editing.stop()


def test_proposals_are_counted_with_their_class(
    qapp: object, empty: np.ndarray
) -> None:
    proposal = empty.copy()
    proposal[1, 2, 2:5] = 2
    editing, layer, _ = make(ENCODING.propose(proposal), proposal)
    counts: list[dict[int, int]] = []
    editing.counted.connect(counts.append)
    layer.brush_size = 1
    layer.paint((1, 2, 2), 2)
    editing.recount()
    assert counts[-1] == {2: 3, 255: empty.size - 3}
    editing.stop()
