from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest

from napari_semiseg.core.case import CaseState
from napari_semiseg.widgets.canvas.case_view import CaseView
from napari_semiseg.widgets.canvas.mask_sources import MaskSource
from napari_semiseg.widgets.common import planes
from napari_semiseg.widgets.common.compat import camera_of
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.questions import Leave
from widgets.viewing import BLOCK, Answers, store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.common.session import Session

WAIT_MS = 20_000


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def view(
    make_napari_viewer: Callable[[], Any], session: Session, answers: Answers
) -> Iterator[CaseView]:
    made = CaseView(session, make_napari_viewer(), answers)
    yield made
    Connections.close_below(made)


def paint(view: CaseView, z: int = 5, value: int = 1) -> None:
    view.mask.brush_size = 3
    view.mask.paint((z, 9, 9), value)


def label_of(project: Project, case_id: str) -> np.ndarray:
    label = project.case(case_id).read_label()
    assert label is not None
    return label


def test_layers_lie_on_the_spacing_in_mm(
    view: CaseView, session: Session, project: Project
) -> None:
    assert view.open("case_0")
    assert [layer.name for layer in view.viewer.layers] == ["case_0", "mask"]
    for layer in (view.image, view.mask):
        assert tuple(layer.scale) == (2, 1, 1)
        assert {str(unit) for unit in layer.units} == {"millimeter"}
        assert layer.metadata["semiseg"] == {
            "project": str(project.folder),
            "case": "case_0",
        }
    assert view.mask.data.dtype == np.uint8
    low, high = view.image.contrast_limits
    voxels = project.case("case_0").read_image().data
    assert (low, high) == pytest.approx(tuple(np.percentile(voxels, (0.5, 99.5))))
    assert session.case_id == "case_0"


def test_another_case_is_shown_by_the_layer_of_the_one_before(
    view: CaseView, project: Project, tmp_path: Path
) -> None:
    data = np.linspace(0, 9, 6 * 30 * 20).reshape(6, 30, 20)
    affine = np.diag([-0.5, -0.7, 3, 1])
    nibabel.save(nibabel.Nifti1Image(data.T, affine), tmp_path / "thick.nii.gz")
    project.add(tmp_path / "thick.nii.gz")
    view.open("case_0")
    image, mask = view.image, view.mask
    mask.paint((2, 5, 5), 1)
    assert mask.can_undo
    assert view.open("thick")
    assert view.image is image
    assert view.mask is mask
    assert not mask.can_undo  # that step belongs to the mask before
    mask.undo()
    assert not mask.data.any() or set(np.unique(mask.data)) == {255}
    assert [layer.name for layer in view.viewer.layers] == ["thick", "mask"]
    for layer in view.viewer.layers:
        assert layer.data.shape == data.shape
        assert tuple(layer.scale) == pytest.approx((3, 0.7, 0.5))
        assert layer.metadata["semiseg"]["case"] == "thick"
    assert np.allclose(image.data, data)
    wanted = pytest.approx(tuple(np.percentile(data, (0.5, 99.5))))
    assert tuple(image.contrast_limits) == wanted
    assert tuple(image.contrast_limits_range) == wanted


def test_classes_have_the_projects_colours(view: CaseView, project: Project) -> None:
    view.open("case_0")
    wanted = project.labels.classes[0].colour
    red, green, blue, _ = view.mask.get_color(1)
    found = "#" + "".join(f"{round(255 * part):02X}" for part in (red, green, blue))
    assert found == wanted
    assert view.mask.get_color(255)[3] < 0.5


def test_source_is_label_then_draft_then_prediction_then_empty(
    view: CaseView, project: Project, masks: Path
) -> None:
    view.open("case_3")
    assert view.model.opened.source is MaskSource.EMPTY
    assert (view.mask.data == 255).all()
    run = store_prediction(project, "case_3")
    view.open("case_3")
    assert view.model.opened.source is MaskSource.PROPOSAL
    assert view.mask.data[BLOCK].tolist() == np.full((4, 5, 4), 254).tolist()
    assert not view.editing.encoding.annotated(view.mask.data).any()
    assert view.text == f"Proposed by {run.id}, step 5"
    draft = np.zeros(view.mask.data.shape, np.uint8)
    draft[0, 0, 0] = 1
    project.save_draft("case_3", draft)
    view.open("case_3")
    assert view.model.opened.source is MaskSource.DRAFT
    project.set_label("case_3", draft)
    view.open("case_3")
    assert view.model.opened.source is MaskSource.LABEL
    draft[0, 0, 1] = 1
    project.save_draft("case_3", draft)
    view.open("case_3")
    assert view.model.opened.source is MaskSource.DRAFT
    assert "newer than the accepted label" in view.text
    assert np.array_equal(view.mask.data, draft)


def test_undo_after_another_case_writes_nothing_stale(
    view: CaseView, project: Project
) -> None:
    view.open("case_0")
    paint(view)
    view.open("case_1")
    before = view.mask.data.copy()
    for _ in range(3):
        view.mask.undo()
    assert np.array_equal(view.mask.data, before)


def wait_for(qtbot: QtBot, view: CaseView, run: Run) -> None:
    """Let the prediction of a run be read beside the window."""
    qtbot.waitUntil(lambda: view.prediction.record.run == run.id, timeout=WAIT_MS)


def test_a_new_prediction_is_one_reversible_step(
    qtbot: QtBot, view: CaseView, session: Session, project: Project
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    before = view.mask.data.copy()
    paint(view)
    view.mask.undo()
    view.editing.recount()
    run = store_prediction(project, "case_0", shift=3)
    session.runs_changed.emit()
    wait_for(qtbot, view, run)
    assert view.text == f"Proposed by {run.id}, step 5"
    assert not view.dirty
    assert view.editing.changed_voxels() == 0
    proposed = np.zeros_like(view.mask.data)
    proposed[BLOCK] = 1
    proposed = np.roll(proposed, 3, axis=2)
    assert np.array_equal(view.editing.whole(), proposed)
    view.mask.undo()
    assert np.array_equal(view.mask.data, before)
    view.mask.redo()
    assert np.array_equal(view.editing.whole(), proposed)


def test_undo_never_writes_into_another_array(
    view: CaseView, session: Session, project: Project
) -> None:
    """Every voxel an undo writes was in this very mask before."""
    store_prediction(project, "case_0")
    view.open("case_0")
    paint(view)
    view.mark_slice()
    first = view.mask
    view.accept()
    accepted = view.mask.data.copy()
    for _ in range(4):
        view.mask.undo()
    assert np.array_equal(view.mask.data, accepted)
    left = first.data.copy()
    view.open("case_1")
    paint(view, z=2)
    painted = view.mask.data.copy()
    view.previous_case()
    assert view.case.id == "case_0"
    for _ in range(4):
        view.mask.undo()
    assert np.array_equal(view.mask.data, accepted)
    assert np.array_equal(first.data, left)
    view.previous_case()
    assert view.case.id == "case_1"
    assert np.array_equal(view.mask.data, painted)


def test_a_new_prediction_leaves_edits_alone(
    qtbot: QtBot, view: CaseView, session: Session, project: Project
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    paint(view)
    edited = view.mask.data.copy()
    run = store_prediction(project, "case_0", shift=3)
    session.runs_changed.emit()
    wait_for(qtbot, view, run)
    assert np.array_equal(view.mask.data, edited)
    assert view.prediction.labels[3, 4, 10] == 1


def test_what_is_painted_while_a_prediction_is_read_stays(
    qtbot: QtBot, view: CaseView, session: Session, project: Project
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    run = store_prediction(project, "case_0", shift=3)
    session.runs_changed.emit()
    paint(view)
    edited = view.mask.data.copy()
    wait_for(qtbot, view, run)
    assert np.array_equal(view.mask.data, edited)
    assert view.dirty


def test_the_canvases_say_where_what_they_show_comes_from(
    qtbot: QtBot, view: CaseView, session: Session, project: Project
) -> None:
    first = store_prediction(project, "case_0")
    view.viewer.window.resize(1600, 900)  # with the maps beside the image
    view.open("case_0")
    notes, side = view.canvases.main_notes, view.canvases.views.uncertainty.notes
    assert notes.footnote == f"Proposed by {first.id}, step 5"
    assert side.footnote == f"{first.id}, step 5"
    paint(view)
    assert notes.footnote == f"Proposed by {first.id}, step 5, then edited"
    second = store_prediction(project, "case_0", shift=3)
    session.runs_changed.emit()
    wait_for(qtbot, view, second)
    assert side.footnote == f"{second.id}, step 5"
    view.accept()
    assert notes.footnote.startswith("Accepted label by")


def test_a_prediction_of_a_case_that_was_left_is_not_shown(
    qtbot: QtBot, view: CaseView, session: Session, project: Project
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    store_prediction(project, "case_0", shift=3)
    session.runs_changed.emit()
    view.open("case_1")
    qtbot.wait(300)
    assert view.case.id == "case_1"
    assert view.prediction is None


def test_the_chosen_run_is_shown(
    qtbot: QtBot, view: CaseView, session: Session, project: Project
) -> None:
    first = store_prediction(project, "case_0")
    second = store_prediction(project, "case_0", shift=2)
    view.open("case_0")
    assert view.prediction.record.run == second.id
    session.show_run(first.id)
    wait_for(qtbot, view, first)
    assert view.text == f"Proposed by {first.id}, step 5"


@pytest.mark.parametrize(
    ("answer", "opened", "drafts"),
    [
        (Leave.SAVE, True, True),
        (Leave.DISCARD, True, False),
        (Leave.STAY, False, False),
    ],
)
def test_leaving_edits_asks(
    view: CaseView,
    session: Session,
    project: Project,
    answers: Answers,
    answer: Leave,
    opened: bool,
    drafts: bool,
) -> None:
    answers.to_leave = answer
    view.open("case_0")
    paint(view)
    painted = view.mask.data.copy()
    assert view.open("case_1") is opened
    assert answers.asked == ["leave case_0"]
    case = project.case("case_0")
    assert case.has_draft is drafts
    if answer is Leave.SAVE:
        assert np.array_equal(case.read_draft(), painted)
    if answer is Leave.STAY:
        assert session.case_id == "case_0"
        assert np.array_equal(view.mask.data, painted)
        answers.to_leave = Leave.DISCARD
        assert session.close_project()


def test_discarding_on_leaving_brings_the_earlier_draft_back(
    view: CaseView, project: Project, answers: Answers
) -> None:
    draft = np.zeros(project.case("case_0").geometry.shape_zyx, np.uint8)
    draft[1, 1, 1] = 1
    project.save_draft("case_0", draft)
    view.open("case_0")
    paint(view)
    view.save_draft()
    paint(view, z=2)
    answers.to_leave = Leave.DISCARD
    assert view.open("case_1")
    assert np.array_equal(project.case("case_0").read_draft(), draft)


def test_a_draft_that_cannot_be_written_is_told_and_written_later(
    view: CaseView, project: Project, said: list[str], notifications: list[str]
) -> None:
    view.open("case_0")
    paint(view)
    away = project.folder.with_name("away")
    project.folder.rename(away)
    view.editing._save_if_dirty()
    view.editing._save_if_dirty()
    assert said[-1].startswith("Draft not saved yet: expected the project folder")
    assert notifications == said[-1:]  # it pops up once
    assert view.dirty
    away.rename(project.folder)
    view.editing._save_if_dirty()
    assert not view.dirty
    assert project.case("case_0").has_draft


@pytest.mark.parametrize(
    ("shape", "place"), [((3, 10, 12, 14), (0, 0)), ((10, 12, 14), (-40, 0))]
)
def test_no_slice_is_marked_that_is_not_of_the_case(
    view: CaseView, said: list[str], shape: tuple[int, ...], place: tuple[int, int]
) -> None:
    view.open("case_0")
    before, axes = view.mask.data.copy(), len(shape)
    beside = np.zeros(shape, np.uint8)
    view.viewer.add_image(beside, translate=(*place, 0, 0)[:axes])
    view.viewer.dims.set_point(0, place[0] + 2)
    view.mark_slice()
    assert said[-1] == "No slice of this case is shown: remove other layers."
    assert np.array_equal(view.mask.data, before)


def test_accept_stores_who_how_long_and_what_changed(
    view: CaseView, session: Session, project: Project
) -> None:
    run = store_prediction(project, "case_0")
    changed: list[set[str]] = []
    session.cases_changed.connect(changed.append)
    view.open("case_0")
    paint(view)
    painted = view.editing.whole()
    assert view.accept()
    case = project.case("case_0")
    assert case.state is CaseState.LABELLED
    assert np.array_equal(label_of(project, "case_0"), painted)
    entry = case.record.history[-1]
    assert entry.action == "label"
    assert entry.by
    assert entry.minutes is not None
    assert entry.run == run.id
    assert entry.changed_voxels == np.count_nonzero(painted != view.prediction.labels)
    assert 0 < entry.corrective_dice < 1
    assert 0 < entry.seen_fraction < 0.1
    assert {"case_0"} in changed
    assert not view.dirty
    assert view.model.opened.source is MaskSource.LABEL


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_accepting_what_is_annotated_makes_a_partial_label(
    view: CaseView, project: Project, axis: int
) -> None:
    view.open("case_2")
    planes.show(view.viewer, axis, 7, view.case.geometry)
    view.mark_slice()
    paint(view, z=5)
    painted = view.mask.data.copy()
    assert view.accept(painted_only=True)
    label = label_of(project, "case_2")
    assert np.array_equal(label, painted)
    assert not (np.take(label, 7, axis) == 255).any()
    assert (label == 1).any()
    assert (label == 255).mean() > 0.8
    assert project.case("case_2").state is CaseState.PARTIAL
    fraction = project.case("case_2").annotated_fraction
    assert fraction == pytest.approx((label != 255).mean())
    assert np.array_equal(view.mask.data, label)


def test_nothing_painted_is_not_accepted_silently(
    view: CaseView, project: Project, answers: Answers, said: list[str]
) -> None:
    answers.to_confirm = False
    view.open("case_2")
    assert not view.accept(painted_only=True)
    assert "Nothing is painted" in said[-1]
    assert not view.accept()
    assert answers.asked == ["Accept an empty mask?"]
    assert not project.case("case_2").has_label


def test_unannotated_slices_become_background_only_when_confirmed(
    view: CaseView, project: Project, answers: Answers
) -> None:
    label = np.full(project.case("case_0").geometry.shape_zyx, 255, np.uint8)
    label[3] = 0
    project.set_label("case_0", label)
    view.open("case_0")
    answers.to_confirm = False
    assert not view.accept()
    assert (label_of(project, "case_0") == 255).any()
    answers.to_confirm = True
    assert view.accept()
    assert not label_of(project, "case_0").any()


def test_filling_keeps_what_a_person_annotated(
    view: CaseView, project: Project
) -> None:
    store_prediction(project, "case_0")
    label = np.full(project.case("case_0").geometry.shape_zyx, 255, np.uint8)
    label[4] = 0
    project.set_label("case_0", label)
    view.open("case_0")
    view.fill_from_prediction()
    assert view.dirty
    assert not view.mask.data[4].any()
    assert (view.editing.whole()[3, 4:9, 4:8] == 1).all()
    assert np.array_equal(view.editing.annotated_only(), label)
    view.mask.undo()
    assert np.array_equal(view.mask.data, label)


def test_discard_goes_back_to_the_proposal(view: CaseView, project: Project) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    paint(view)
    view.save_draft()
    assert project.case("case_0").has_draft
    view.discard_draft()
    assert not project.case("case_0").has_draft
    assert np.array_equal(view.editing.whole(), view.prediction.labels)


def test_only_classes_of_the_project_can_be_painted(view: CaseView) -> None:
    view.open("case_0")
    view.mask.selected_label = 7
    assert view.mask.selected_label == 1
    for value in (0, 255):
        view.mask.selected_label = value
        assert view.mask.selected_label == value
    view.mask.selected_label = 254
    assert view.mask.selected_label == 1


def test_a_locked_class_is_never_painted_over(view: CaseView, project: Project) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    view.mask.brush_size = 4
    view.mask.paint((5, 5, 5), 1)
    held = view.editing.whole() == 1
    view.layers.set_locked(1, True)
    view.mask.paint((5, 5, 7), 0)
    view.mask.fill((5, 5, 5), 0)
    view.mask.paint_polygon([(5, 1, 1), (5, 1, 9), (5, 9, 9)], 0)
    for _ in range(3):
        view.mask.undo()
        view.mask.redo()
    assert (view.editing.whole()[held] == 1).all()
    assert (view.mask.data == 0).any()
    view.open("case_1")
    assert view.mask.protected == {1, 254}
    view.open("case_0")
    view.layers.set_locked(1, False)
    view.mask.paint((5, 5, 6), 0)
    assert (view.editing.whole()[held] == 0).any()


def test_a_reopened_draft_knows_what_was_annotated(view: CaseView) -> None:
    view.open("case_0")
    view.mark_slice()
    paint(view, z=2)
    marked = view.mask.data.copy()
    view.save_draft()
    view.open("case_1")
    view.open("case_0")
    assert np.array_equal(view.mask.data, marked)


def test_the_veil_goes_and_comes(view: CaseView) -> None:
    view.open("case_0")
    assert view.mask.get_color(255)[3] > 0
    view.layers.toggle_unannotated()
    assert view.mask.get_color(255)[3] == 0
    view.open("case_1")
    assert view.mask.get_color(255)[3] == 0
    view.layers.toggle_unannotated()
    assert view.mask.get_color(255)[3] > 0


def test_the_tool_stays_in_hand(view: CaseView) -> None:
    view.open("case_0")
    view.mask.mode = "paint"
    view.mask.brush_size = 21
    view.open("case_1")
    assert view.mask.mode == "paint"
    assert view.mask.brush_size == 21


def test_worst_slices_in_turn(
    view: CaseView, project: Project, said: list[str]
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    seen = []
    for _ in range(3):
        view.next_doubtful_slice()
        seen.append((view.viewer.dims.order[0], view.slice_index))
        planes.show(view.viewer, 0, 2, view.case.geometry)  # looks around
    assert seen == [(0, 6), (1, 5), (0, 6)]
    assert said[-2] == "Coronal slice 6: heads disagree"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_plane_is_mirrored(view: CaseView, axis: int) -> None:
    view.open("case_0")
    planes.set_plane(view.viewer, axis)
    notes = view.canvases.main_notes
    edges = {
        0: {"top": "A", "bottom": "P", "left": "R", "right": "L"},
        1: {"top": "S", "bottom": "I", "left": "R", "right": "L"},
        2: {"top": "S", "bottom": "I", "left": "A", "right": "P"},
    }
    assert notes.edges() == edges[axis]


@pytest.mark.parametrize("order", planes.ORDERS)
def test_the_3d_view_is_no_mirror_image(order: tuple[int, int, int]) -> None:
    depth, vertical, horizontal = planes.orientation_of(order)
    towards = planes.LPS[order[0]] * (1 if depth == "towards" else -1)
    up = planes.LPS[order[1]] * (1 if vertical == "up" else -1)
    right = planes.LPS[order[2]] * (1 if horizontal == "right" else -1)
    assert np.array_equal(np.cross(right, up), towards)


def test_unreadable_image_keeps_the_open_case(
    view: CaseView,
    session: Session,
    project: Project,
    notifications: list[str],
) -> None:
    view.open("case_0")
    project.case("case_1").image.unlink()
    assert not view.open("case_1")
    assert session.case_id == "case_0"
    assert view.mask in view.viewer.layers
    assert notifications


def test_removing_the_mask_by_hand_keeps_a_draft(
    view: CaseView, session: Session, project: Project
) -> None:
    view.open("case_0")
    paint(view)
    painted = view.mask.data.copy()
    view.viewer.layers.remove(view.mask)
    assert np.array_equal(project.case("case_0").read_draft(), painted)
    assert view.case is None
    assert session.case_id is None
    assert len(view.viewer.layers) == 0


def test_closing_gives_the_viewer_back(
    make_napari_viewer: Callable[[], Any], session: Session
) -> None:
    viewer = make_napari_viewer()
    before = camera_of(viewer).orientation
    view = CaseView(session, viewer, Answers())
    view.open("case_0")
    planes.set_plane(viewer, 1)
    Connections.close_below(view)
    assert len(viewer.layers) == 0
    assert camera_of(viewer).orientation == before
    assert session.may_leave == []
    session.case_requested.emit("case_1")
    assert len(viewer.layers) == 0


def test_a_new_prediction_leaves_a_saved_draft_alone(
    qtbot: QtBot, view: CaseView, session: Session, project: Project
) -> None:
    store_prediction(project, "case_0")
    view.open("case_0")
    paint(view)
    view.save_draft()
    edited = view.mask.data.copy()
    run = store_prediction(project, "case_0", shift=3)
    session.runs_changed.emit()
    wait_for(qtbot, view, run)
    assert np.array_equal(view.mask.data, edited)
