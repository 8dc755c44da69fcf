"""The mask of a scan, by keyboard and mouse: sparse labels, filling in, tools, undo.

Stages of the annotator's walk; each leaves the window to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from scipy import ndimage

from napari_semiseg.core.case import CaseState
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.imaging.outlines import outlines
from napari_semiseg.widgets.canvas.slice_strip import DONE, HEIGHT
from widgets.earlier import earlier_model, reference_of
from widgets.person import CONTROL, LATER_MS, NONE, SHIFT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from qtpy.QtGui import QColor

    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.tools.preview import Preview
    from widgets.person import Person

APART = 6
POINTS = 40
NARROW = 3
"""Half a gap that may be left beside a line: nobody fills so little, in voxels."""


@dataclass(frozen=True)
class Scans:
    """A project on real scans; ``blank`` has nothing, the others a prediction."""

    project: Project
    masks: Path
    run: Run
    blank: str
    predicted: tuple[str, ...]


def mask_of(person: Person) -> NDArray[np.uint8]:
    """The mask as it is now."""
    return np.array(person.panel.case_view.mask.data)


def overlap(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    both = np.count_nonzero(a == 1) + np.count_nonzero(b == 1)
    return 2 * np.count_nonzero((a == 1) & (b == 1)) / both


def to_plane(person: Person, axis: int) -> None:
    while person.viewer.dims.order[0] != axis:
        person.press(Qt.Key.Key_Q)


def to_slice(person: Person, index: int) -> None:
    """By the arrow keys."""
    view = person.panel.case_view
    key = Qt.Key.Key_Right if index > view.slice_index else Qt.Key.Key_Left
    for _ in range(abs(index - view.slice_index)):
        person.press(key)
    assert view.slice_index == index


def draw(person: Person, axis: int, index: int, wanted: NDArray[np.uint8]) -> float:
    """Trace a structure on the slice shown, fill it, and say that the slice is done.

    Gives the Dice of what was drawn with what was wanted.
    """
    inside = ndimage.binary_erosion(wanted, iterations=3)
    line = max(outlines(inside), key=len)
    line = line[np.linspace(0, len(line) - 1, POINTS).astype(int)]
    person.press(Qt.Key.Key_1)
    person.press(Qt.Key.Key_P)
    person.trace(np.insert(line, axis, index, axis=1), moves=1)
    person.press(Qt.Key.Key_F)
    left, count = ndimage.label(inside & (np.take(mask_of(person), index, axis) != 1))
    for piece in range(1, count + 1):
        depth = ndimage.distance_transform_edt(left == piece)
        if depth.max() < NARROW:
            continue
        middle = np.array(np.unravel_index(depth.argmax(), depth.shape), float)
        at = person.on_canvas(np.insert(middle, axis, index)).toPoint()
        person.click(person.canvas, at)
    person.press(Qt.Key.Key_P)
    person.press(Qt.Key.Key_D)
    assert person.panel.case_view.editing.is_done(axis, index)
    return overlap(np.take(mask_of(person), index, axis), wanted)


def preview(person: Person) -> None:
    """Wait for the outline of the tool in hand."""
    box = person.panel.review.tool_panel
    person.wait_for(lambda: "outline shows" in box.text.text(), LATER_MS)
    assert box.preview.lines


def one_step(person: Person, before: NDArray[np.uint8]) -> None:
    """Ctrl+Z takes all of the last tool back."""
    assert not np.array_equal(mask_of(person), before)
    person.press(Qt.Key.Key_Z, CONTROL)
    assert np.array_equal(mask_of(person), before)


# -- 1: sparse labels ----------------------------------------------------------------


def sparse_labels(person: Person, scans: Scans) -> None:
    """Two axial slices and a coronal one; background by brush; what is seen of it."""
    person.open_case(scans.blank)
    view, review = person.panel.case_view, person.panel.review
    assert (mask_of(person) == UNANNOTATED).all()
    truth = reference_of(scans.project.case(scans.blank), scans.masks)
    low, high, column = places(truth)
    for index in (low, high):
        to_slice(person, index)
        assert draw(person, 0, index, truth[index]) > 0.8
    person.wait_for(lambda: "2 of" in review.saved.text())
    person.picture("01-axial-slices-done")
    assert seen_in_strip(person, low) == seen_in_strip(person, high) == DONE
    assert seen_in_strip(person, low - 3) != DONE
    veil_comes_and_goes(person)

    to_slice(person, high + 3)
    person.press(Qt.Key.Key_0)
    before = mask_of(person)
    person.drag([(0.2, 0.3), (0.4, 0.3)])
    new = mask_of(person)[before != mask_of(person)]
    assert len(new) > 100
    assert (new == 0).all()
    person.picture("02-background-brush")

    to_plane(person, 1)
    to_slice(person, column)
    assert draw(person, 1, column, truth[:, column]) > 0.8
    assert view.editing.is_done(0, low)
    person.wait_for(lambda: "1 of" in review.saved.text())
    assert "coronal" in review.saved.text()
    person.picture("03-coronal-slice-done")
    person.press(Qt.Key.Key_S)
    assert scans.project.case(scans.blank).has_draft
    person.tab("Cohort")
    row = next(row for row in person.panel.cohort.model.rows if row.id == scans.blank)
    assert row.state is CaseState.DRAFT
    assert row.annotated == 0  # nothing is accepted yet
    person.picture("04-draft-in-the-table")
    person.tab("Review")


def places(truth: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Two axial slices about the largest, and the largest coronal one."""
    axial, coronal = truth.sum(axis=(1, 2)), truth.sum(axis=(0, 2))
    middle = int(axial.argmax())
    return middle - APART, middle + APART, int(coronal.argmax())


def seen_in_strip(person: Person, index: int) -> QColor:
    """Colour of the marks, on the lower edge of the strip, at an axial slice."""
    strip = person.panel.review.case_view.slices.strip
    assert strip is not None
    assert strip.isVisible()
    shot = strip.grab().toImage()
    width = shot.width() / len(strip.parts)
    middle = shot.height() - HEIGHT // 2
    return shot.pixelColor(int((index + 0.5) * width), middle)


def veil_comes_and_goes(person: Person) -> None:
    """What is not annotated is bluer than without its veil."""
    view = person.panel.case_view
    to_slice(person, view.slice_index + 1)

    def blue() -> float:
        person.qtbot.wait(100)
        shot = person.viewer.window._qt_viewer.screenshot(flash=False).astype(int)
        return float((shot[..., 2] - shot[..., 0]).mean())

    veiled = blue()
    person.press(Qt.Key.Key_H)
    plain = blue()
    person.press(Qt.Key.Key_H)
    assert veiled > plain + 3
    assert blue() == pytest.approx(veiled, abs=0.5)


# -- 2 and 3: tools ------------------------------------------------------------------


def fill_between(person: Person, scans: Scans) -> None:
    view = person.panel.case_view
    truth = reference_of(scans.project.case(scans.blank), scans.masks)
    low, high, _ = places(truth)
    to_plane(person, 0)
    to_slice(person, (low + high) // 2)
    before = mask_of(person)
    human = before != UNANNOTATED
    for name, key, shift in (
        ("05-fill-preview", Qt.Key.Key_I, NONE),
        ("07-fill-by-outlines", Qt.Key.Key_J, SHIFT),
    ):
        person.press(key, shift)
        preview(person)
        assert np.array_equal(mask_of(person), before)
        person.picture(name)
        person.press(Qt.Key.Key_U)
        filled = mask_of(person)
        assert np.array_equal(filled[human], before[human])
        between = slice(low + 1, high)
        assert overlap(view.editing.whole()[between], truth[between]) > 0.8
        if key == Qt.Key.Key_I:
            person.picture("06-filled")
            one_step(person, before)
    one_step(person, before)
    person.press(Qt.Key.Key_Z, CONTROL | SHIFT)
    assert np.array_equal(mask_of(person), filled)


def tools_on_the_mask(person: Person, scans: Scans) -> None:
    move_the_boundary(person)
    keep_the_largest_piece(person)
    lock_the_class(person)
    adopt_a_layer(person, scans)


def move_the_boundary(person: Person) -> None:
    view, box = person.panel.case_view, person.panel.review.tool_panel
    before, small = mask_of(person), np.count_nonzero(view.editing.whole())
    move_boundary(person, 1.5)
    person.picture("08-move-boundary")
    person.click(box.apply_button)
    assert np.count_nonzero(view.editing.whole()) > small
    one_step(person, before)


def move_boundary(person: Person, by_mm: float) -> None:
    """By the keys of the slider, until the outline is that much farther out."""
    box = person.panel.review.tool_panel
    person.press(Qt.Key.Key_J)
    preview(person)
    before = extent(box.preview)
    box.slider.setFocus()
    key = Qt.Key.Key_Right if by_mm > 0 else Qt.Key.Key_Left
    for _ in range(round(abs(by_mm) / 0.25)):
        QTest.keyClick(box.slider, key)
    assert box.amount.value() == by_mm
    sign = np.sign(by_mm)
    person.wait_for(lambda: (sign * extent(box.preview) > sign * before)[1:].all())
    preview(person)


def extent(shown: Preview) -> NDArray[np.float64]:
    """Size of the outlines that are drawn, mm."""
    return np.ptp(np.concatenate([line for _, line, _ in shown.lines]), axis=0)


def keep_the_largest_piece(person: Person) -> None:
    view, box = person.panel.case_view, person.panel.review.tool_panel
    person.press(Qt.Key.Key_1)
    person.press(Qt.Key.Key_P)
    corner = np.array([[view.slice_index, 10, 10], [view.slice_index, 10, 25]])
    person.trace(corner, moves=5)
    before = mask_of(person)
    assert ndimage.label(view.editing.whole())[1] > 1
    person.pick(box.clean_up, "Keep the largest piece")
    preview(person)
    person.click(box.apply_button)
    assert ndimage.label(view.editing.whole())[1] == 1
    one_step(person, before)
    person.press(Qt.Key.Key_Z, CONTROL)
    assert ndimage.label(view.editing.whole())[1] == 1


def lock_the_class(person: Person) -> None:
    """Nothing erases a structure that is locked."""
    before = mask_of(person)
    across = [(0.4, 0.5), (0.6, 0.5)]
    person.press(Qt.Key.Key_K)
    assert person.panel.case_view.layers.locked == {1}
    person.press(Qt.Key.Key_E)
    person.drag(across)
    locked = mask_of(person)
    person.picture("09-locked")
    structure = person.panel.case_view.editing.encoding.classes(before) == 1
    assert np.array_equal(locked[structure], before[structure])
    person.press(Qt.Key.Key_K)
    person.drag(across)
    assert not np.array_equal(mask_of(person)[structure], before[structure])
    for _ in range(2):
        if not np.array_equal(mask_of(person), before):
            person.press(Qt.Key.Key_Z, CONTROL)
    assert np.array_equal(mask_of(person), before)
    person.press(Qt.Key.Key_P)


def adopt_a_layer(person: Person, scans: Scans) -> None:
    """A layer on another grid is refused in words; one on the scan's is taken."""
    view, box = person.panel.case_view, person.panel.review.tool_panel
    truth = reference_of(scans.project.case(scans.blank), scans.masks)
    before = mask_of(person)
    layers = person.viewer.layers
    for name, voxels in (("cropped", truth[1:]), ("nnInteractive", truth)):
        layer = person.viewer.add_labels(
            voxels,
            name=name,
            scale=view.mask.scale,
            units=view.mask.units,
            visible=False,
        )
        person.pick(box.clean_up, f"Adopt layer: {name}")
        if name == "cropped":
            person.wait_for(lambda: "expected" in box.text.text())
            assert not box.apply_button.isEnabled()
            person.picture("10-not-on-this-grid")
        else:
            preview(person)
            person.picture("11-adopt-layer")
            person.click(box.apply_button)
        layers.remove(layer)
        layers.selection.active = view.mask
    human = np.isin(before, (0, 1))
    whole = view.editing.whole()
    assert np.array_equal(mask_of(person)[human], before[human])
    assert np.array_equal(whole[~human], truth[~human])
    one_step(person, before)


# -- 4: undo -------------------------------------------------------------------------


def undo_after_change_of_case(person: Person, scans: Scans) -> None:
    """Ctrl+Z writes nothing of the case before, and takes a new prediction back."""
    view, name = person.panel.case_view, scans.predicted[0]
    person.press(Qt.Key.Key_S)
    draft = scans.project.case(scans.blank).read_draft()
    person.open_case(name)
    old = mask_of(person)
    for _ in range(3):
        person.press(Qt.Key.Key_Z, CONTROL)
    assert np.array_equal(mask_of(person), old)
    assert np.array_equal(scans.project.case(scans.blank).read_draft(), draft)

    newer = earlier_model(scans.project, scans.masks, {name: 2.0})
    person.panel.session.runs_changed.emit()
    person.wait_for(lambda: view.prediction.record.run == newer.id, LATER_MS)
    new = mask_of(person)
    assert np.array_equal(view.editing.whole(), view.prediction.labels)
    one_step(person, old)
    person.press(Qt.Key.Key_Z, CONTROL | SHIFT)
    assert np.array_equal(mask_of(person), new)
    person.wait_for(lambda: not view.dirty)
    person.picture("12-new-prediction")
