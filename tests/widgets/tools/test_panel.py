from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.layers import Labels

from napari_semiseg.core.text import millilitres
from napari_semiseg.imaging import distance
from napari_semiseg.widgets.canvas.case_view import CaseView
from napari_semiseg.widgets.common import planes
from napari_semiseg.widgets.review.panel import ReviewPanel
from napari_semiseg.widgets.tools.operations import (
    FILL_HOLES,
    INTERPOLATE,
    INTERPOLATE_OUTLINES,
    INTERPOLATE_WITH_PREDICTION,
    LARGEST_COMPONENT,
    MOVE_BOUNDARY,
    REMOVE_SPECKS,
    SMOOTH,
)
from widgets.viewing import press, store_prediction

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.tools.panel import ToolPanel


def previewed(box: ToolPanel, qtbot: QtBot) -> None:
    """Wait until the outline of the tool is drawn."""
    qtbot.waitUntil(
        lambda: "outline shows the result" in box.text.text(), timeout=30_000
    )


def block(view: CaseView, slices: tuple[int, ...]) -> None:
    """Paint a block into axial slices and mark these as done."""
    for index in slices:
        plane = view.mask.data[index : index + 1].copy()
        plane[:, 4:9, 4:8] = 1
        view.mask.put(plane, (slice(index, index + 1), slice(0, None), slice(0, None)))
        view.annotation.mark_slice(0, index)


def test_between_slices_is_previewed_and_one_step(
    panel: ReviewPanel, view: CaseView, qtbot: QtBot
) -> None:
    offers: list[str] = []
    view.session.offered.connect(lambda text, *_: offers.append(text))
    view.open("case_0")
    block(view, (2, 6))
    planes.show(view.viewer, 0, 4, view.case.geometry)
    before = view.mask.data.copy()
    box = panel.tool_panel
    press(view, "Shift-J")
    assert box.tool is INTERPOLATE_OUTLINES
    previewed(box, qtbot)
    assert box.preview.lines
    assert view.canvases.main_notes.outlines["preview"] == box.preview.lines
    assert np.array_equal(view.mask.data, before)
    press(view, "U")
    assert box.tool is None
    assert not box.preview.lines
    assert offers == [
        "Fill between, by the outlines alone: left atrium 0.08 \u2192 0.20 mL"
    ]
    classes = view.editing.whole()
    assert (classes[2:7, 4:9, 4:8] == 1).all()
    assert np.count_nonzero(classes) == 5 * 5 * 4
    assert np.array_equal(
        view.editing.annotated_only(), view.editing.encoding.human(before)
    )
    after = view.mask.data.copy()
    view.mask.undo()
    assert np.array_equal(view.mask.data, before)
    view.mask.redo()
    assert np.array_equal(view.mask.data, after)


def test_outlines_follow_the_image(
    panel: ReviewPanel, view: CaseView, qtbot: QtBot
) -> None:
    view.open("case_0")
    data = view.image.data
    data[:] = 0
    for index in range(10):
        data[index, 4:9, 2 + index // 2 : 7 + index // 2] = 100
    for index in (2, 8):
        plane = (data[index : index + 1] > 0).astype(np.uint8)
        view.mask.put(plane, (slice(index, index + 1), slice(0, None), slice(0, None)))
    before = view.mask.data.copy()
    press(view, "I")
    assert panel.tool_panel.tool is INTERPOLATE
    previewed(panel.tool_panel, qtbot)
    press(view, "U")
    classes = view.editing.whole()
    found, truth = classes[3:8] == 1, data[3:8] > 0
    assert 2 * np.count_nonzero(found & truth) / (found.sum() + truth.sum()) > 0.85
    assert np.array_equal(classes[[2, 8]], before[[2, 8]])
    view.mask.undo()
    assert np.array_equal(view.mask.data, before)


def test_the_masks_own_distance_is_measured_beside_the_window(
    panel: ReviewPanel,
    view: CaseView,
    project: Project,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[str] = []
    measure = distance.truncated_distance

    def watched(*args: Any) -> np.ndarray:
        threads.append(threading.current_thread().name)
        return measure(*args)

    monkeypatch.setattr(distance, "truncated_distance", watched)
    label = np.zeros(project.case("case_0").geometry.shape_zyx, np.uint8)
    label[3:7, 4:8, 4:8] = 1
    project.set_label("case_0", label)
    view.open("case_0")
    box = panel.tool_panel
    box.choose(MOVE_BOUNDARY.id)
    for millimetres in (0.5, 1.0, 1.5):
        box.amount.setValue(millimetres)
        box._compute()
    previewed(box, qtbot)
    assert len(threads) == 1
    assert threads[0] != threading.main_thread().name
    box.apply()
    assert view.editing.whole()[5, 3, 5] == 1


def test_what_is_filled_in_can_count_as_annotated(
    panel: ReviewPanel, view: CaseView, qtbot: QtBot
) -> None:
    view.open("case_0")
    block(view, (2, 6))
    box = panel.tool_panel
    box.choose(INTERPOLATE.id)
    box.human_verified.setChecked(True)
    previewed(box, qtbot)
    qtbot.waitUntil(
        lambda: (
            box.worker._result is not None and bool((box.worker._result[4] == 1).any())
        ),
        timeout=30_000,
    )
    box.apply()
    assert not (view.editing.annotated_only()[2:7] == 255).any()
    assert (view.editing.annotated_only()[:2] == 255).all()


def test_tools_say_what_they_miss(
    panel: ReviewPanel, view: CaseView, qtbot: QtBot, said: list[str]
) -> None:
    view.open("case_0")
    box = panel.tool_panel
    for tool, words in (
        (INTERPOLATE, "as done first"),
        (INTERPOLATE_WITH_PREDICTION, "No prediction"),
    ):
        box.choose(tool.id)
        qtbot.waitUntil(lambda words=words: words in box.text.text(), timeout=30_000)
        assert not box.apply_button.isEnabled()
        assert words in said[-1]
    panel.lock(1, True)
    box.choose(FILL_HOLES.id)
    qtbot.waitUntil(lambda: "locked" in box.text.text(), timeout=30_000)
    box.cancel()
    assert (view.mask.data == 255).all()


def test_the_predicted_boundary_moves_live_and_spares_annotation(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    planes.show(view.viewer, 0, 5, view.case.geometry)
    view.annotation.mark_slice(0, 4)
    before = view.mask.data.copy()
    box = panel.tool_panel
    press(view, "J")
    previewed(box, qtbot)
    assert box.preview.lines
    box.slider.setValue(round(-3 / 0.25))
    assert box.amount.value() == -3
    qtbot.waitUntil(lambda: not box.preview.lines, timeout=30_000)
    assert np.array_equal(view.mask.data, before)
    press(view, "U")
    classes = view.editing.whole()
    assert np.array_equal(classes[4], view.prediction.labels[4])
    assert not np.delete(classes, 4, axis=0).any()
    view.mask.undo()
    assert np.array_equal(view.mask.data, before)


@pytest.mark.parametrize("mm", [-1.0, 0.0, 1.0])
def test_the_preview_says_the_volumes_that_are_applied(
    panel: ReviewPanel,
    view: CaseView,
    project: Project,
    qtbot: QtBot,
    said: list[str],
    mm: float,
) -> None:
    store_prediction(project, "case_0", sdm_mm=-9.0)  # the distance head is far off
    view.open("case_0")
    before = view.mask.data.copy()
    box = panel.tool_panel
    box.choose(MOVE_BOUNDARY.id)
    box.amount.setValue(mm)
    words = "nothing changes." if mm == 0 else " mL."
    qtbot.waitUntil(lambda: box.text.text().endswith(words), timeout=30_000)
    told = box.text.text()
    box.apply()
    old, new = (
        np.count_nonzero(view.editing.encoding.classes(mask) == 1) * 0.002
        for mask in (before, view.mask.data)
    )
    assert (new > old, new == old) == (mm > 0, mm == 0)
    if mm == 0:
        assert np.array_equal(view.mask.data, before)
        assert said[-1] == "Move the boundary: nothing to change."
    else:
        words = " \u2192 ".join(millilitres(ml, new - old) for ml in (old, new))
        assert f"left atrium {words} mL." in told


def test_an_amount_that_is_not_previewed_yet_is_not_applied(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot, said: list[str]
) -> None:
    label = np.zeros(project.case("case_0").geometry.shape_zyx, np.uint8)
    label[2:9, 3:10, 3:10] = 1
    label[0, 0, :3] = 1  # 6 mm3
    project.set_label("case_0", label)
    view.open("case_0")
    box = panel.tool_panel
    box.choose(REMOVE_SPECKS.id)
    previewed(box, qtbot)
    box.amount.setValue(5)
    box.apply()
    assert said[-1] == "The preview is not ready yet."
    assert np.array_equal(view.mask.data, label)
    qtbot.waitUntil(lambda: "nothing changes" in box.text.text(), timeout=30_000)
    box.cancel()


def test_without_prediction_the_masks_own_boundary_moves(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    label = np.zeros(project.case("case_0").geometry.shape_zyx, np.uint8)
    label[3:7, 4:8, 4:8] = 1
    project.set_label("case_0", label)
    view.open("case_0")
    box = panel.tool_panel
    box.choose(MOVE_BOUNDARY.id)
    box.amount.setValue(1.0)
    previewed(box, qtbot)
    box.apply()
    grown = view.editing.annotated_only()
    assert not (grown == 255).any()
    assert grown[5, 3, 5] == 1
    assert grown[5, 2, 5] == 0
    assert grown[2, 5, 5] == 0


@pytest.mark.parametrize(
    ("tool", "place", "expected"),
    [
        (LARGEST_COMPONENT, (0, 0, 0), 0),
        (REMOVE_SPECKS, (0, 0, 0), 0),
        (FILL_HOLES, (5, 6, 6), 1),
    ],
)
def test_cleaning_is_one_step_each(
    panel: ReviewPanel,
    view: CaseView,
    project: Project,
    qtbot: QtBot,
    tool: Any,
    place: tuple[int, int, int],
    expected: int,
) -> None:
    label = np.zeros(project.case("case_0").geometry.shape_zyx, np.uint8)
    label[2:9, 3:10, 3:10] = 1
    label[5, 6, 6] = 0
    label[0, 0, 0] = 1
    project.set_label("case_0", label)
    view.open("case_0")
    box = panel.tool_panel
    box.choose(tool.id)
    previewed(box, qtbot)
    box.apply()
    assert np.flatnonzero(view.mask.data != label).size == 1
    assert view.mask.data[place] == expected
    assert view.dirty
    view.mask.undo()
    assert np.array_equal(view.mask.data, label)


def test_an_edit_meanwhile_renews_the_preview(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot, said: list[str]
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    box = panel.tool_panel
    box.choose(SMOOTH.id)
    previewed(box, qtbot)
    view.mask.brush_size = 1
    view.mask.paint((9, 11, 11), 1)
    painted = view.mask.data.copy()
    box.apply()
    assert "has changed" in said[-1]
    assert np.array_equal(view.mask.data, painted)
    box.cancel()


def test_another_case_puts_the_tool_away(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    panel.tool_panel.choose(MOVE_BOUNDARY.id)
    previewed(panel.tool_panel, qtbot)
    view.open("case_1")
    assert panel.tool_panel.tool is None
    assert not panel.tool_panel.preview.lines
    press(view, "U")
    assert (view.mask.data == 255).all()


def test_other_layers_are_adopted_on_their_geometry(
    panel: ReviewPanel, view: CaseView, qtbot: QtBot
) -> None:
    view.open("case_0")
    view.annotation.mark_slice(0, 4)
    values = np.zeros(view.mask.data.shape, np.int32)
    values[3:6, 4:8, 4:8] = 17
    here = Labels(values, name="nnInteractive", scale=view.mask.scale)
    elsewhere = Labels(values, name="no spacing")
    view.viewer.layers.extend([elsewhere, here])
    view.viewer.layers.selection.active = view.mask
    box = panel.tool_panel
    box.adopt_layer()
    assert box.tool.title.endswith("nnInteractive")
    previewed(box, qtbot)
    box.apply()
    classes = view.editing.whole()
    assert (classes[[3, 5], 4:8, 4:8] == 1).all()
    assert not classes[4].any()
    box.choose("adopt no spacing")
    qtbot.waitUntil(lambda: "to lie on the image" in box.text.text(), timeout=30_000)
    assert not box.apply_button.isEnabled()
    view.viewer.layers.remove(elsewhere)
    assert box.tool is None


def test_the_strip_shows_which_slices_are_done(
    panel: ReviewPanel, view: CaseView, qtbot: QtBot
) -> None:
    view.open("case_0")
    block(view, (2,))
    view.mask.brush_size = 1
    view.mask.paint((6, 2, 2), 1)
    view.editing.recount()
    strip = panel.case_view.slices.strip
    assert strip is not None
    assert strip.parts[2] == 1
    assert 0 < strip.parts[6] < 1
    assert np.flatnonzero(strip.parts).tolist() == [2, 6]
    assert not strip.doubtful
    assert "1 of 10 axial slices done" in panel.saved.text()
    planes.set_plane(view.viewer, 1)
    assert len(strip.parts) == 12
    assert (strip.parts > 0).all()
    view.clear()
    assert not len(strip.parts)


def test_locks_are_kept_by_key_and_button(panel: ReviewPanel, view: CaseView) -> None:
    view.open("case_0")
    press(view, "K")
    assert panel.classes.locks[1].isChecked()
    assert view.mask.protected == {1, 254}
    panel.classes.locks[1].click()
    assert view.mask.protected == frozenset()
    press(view, "Shift-E")
    assert view.mask.selected_label == 255
    assert panel.classes.buttons[255].isChecked()
