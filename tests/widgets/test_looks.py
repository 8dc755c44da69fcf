"""How a case is looked at: grey values, colours, and three dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.layers import Labels

from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.imaging.mesh import surface_mesh
from napari_semiseg.project.project import Project
from napari_semiseg.widgets.canvas.contrast import OWN
from napari_semiseg.widgets.canvas.surface_view import meshes
from napari_semiseg.widgets.common.compat import camera_of
from widgets.conftest import SHAPE, write_volume
from widgets.viewing import press, store_prediction

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.review.panel import ReviewPanel

SPACING = (2.0, 1.0, 1.0)


def test_windows_are_chosen_and_kept_for_the_next_scan(
    panel: ReviewPanel, view: CaseView
) -> None:
    view.open("case_0")
    choice, first = panel.view_bar.contrast, tuple(view.image.contrast_limits)
    assert choice.currentText() == "Automatic"
    press(view, "Shift-C")
    assert choice.currentText().startswith("More contrast")
    assert first[0] < view.image.contrast_limits[0]
    assert view.image.contrast_limits[1] < first[1]
    view.open("case_1")
    assert choice.currentText().startswith("More contrast")
    expected = np.percentile(view.image.data, (2, 98))
    assert view.image.contrast_limits == pytest.approx(expected)
    view.image.contrast_limits = (90, 130)
    assert choice.currentText() == OWN
    view.open("case_0")
    assert choice.currentText().startswith("More contrast")
    expected = np.percentile(view.image.data, (2, 98))
    assert view.image.contrast_limits == pytest.approx(expected)
    view.image.contrast_limits = (90, 130)
    for _ in range(choice.count() - 1):
        press(view, "Shift-C")
    assert OWN not in [choice.itemText(row) for row in range(choice.count())]


def test_ct_has_windows_in_hounsfield_units(
    panel: ReviewPanel, view: CaseView, project: Project, tmp_path: Path
) -> None:
    data = np.full(SHAPE, 40, np.int16)
    data[:, :3] = -1000
    project.add(write_volume(tmp_path / "images" / "chest.nii.gz", data))
    view.open("chest")
    choice = panel.view_bar.contrast
    panel.view_bar.contrast._chosen(choice.findText("Soft tissue"))
    assert view.image.contrast_limits == [-160, 240]
    view.open("case_0")
    assert choice.currentText() == "Automatic"
    assert choice.findText("Lung") < 0
    view.open("chest")
    assert choice.currentText() == "Soft tissue"


def test_surfaces_come_and_go_and_nothing_is_lost(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    store_prediction(project, "case_0")
    view.viewer.window.resize(1600, 900)  # with the maps beside the image
    view.open("case_0")
    view.go_to(2, 6)
    mask, viewer = view.mask, view.viewer
    mask.mode = "paint"
    mask.brush_size = 1
    mask.paint((9, 11, 11), 1)
    qtbot.waitUntil(lambda: not view.canvases._settle.isActive())
    camera = camera_of(viewer)
    camera.zoom = 7.25
    before = (tuple(viewer.dims.order), tuple(viewer.dims.point), camera.zoom)
    voxels, layers = mask.data.copy(), list(viewer.layers)
    side = view.canvases.views.distance.model
    press(view, "Shift-Q")
    qtbot.waitUntil(lambda: panel.case_view.surfaces.shown, timeout=30_000)
    assert viewer.dims.ndisplay == 3
    assert side.dims.ndisplay == 2
    assert not mask.visible
    (surface,) = panel.case_view.surfaces.surfaces
    low, high = surface.data[0].min(axis=0), surface.data[0].max(axis=0)
    inside = np.argwhere(view.editing.whole() == 1)
    expected = [(inside.min(0) - 0.5) * SPACING, (inside.max(0) + 0.5) * SPACING]
    assert low == pytest.approx(expected[0])
    assert high == pytest.approx(expected[1])
    assert surface.extent.world[0] == pytest.approx(low)
    press(view, "D")
    mask.undo()
    view.editing.recount()
    qtbot.waitUntil(
        lambda: panel.case_view.surfaces.surfaces[0].data[0][:, 0].max() == 13,
        timeout=30_000,
    )
    mask.redo()
    press(view, "Shift-Q")
    assert not panel.case_view.surfaces.shown
    assert list(viewer.layers) == layers
    assert viewer.dims.ndisplay == 2
    after = (tuple(viewer.dims.order), tuple(viewer.dims.point), camera.zoom)
    assert after == before
    assert tuple(side.dims.order) == before[0]
    assert np.array_equal(mask.data, voxels)
    assert mask.visible
    assert mask.mode == "paint"
    assert viewer.layers.selection.active is mask
    view.editing.recount()
    assert view.dirty


def test_another_case_and_naparis_button_end_three_dimensions(
    panel: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    store_prediction(project, "case_0")
    for leave in (lambda: view.open("case_1"), view.clear, None):
        view.open("case_0")
        panel.case_view.surfaces.toggle()
        qtbot.waitUntil(lambda: panel.case_view.surfaces.shown, timeout=30_000)
        if leave is None:
            view.viewer.dims.ndisplay = 2
        else:
            leave()
        assert not panel.case_view.surfaces.shown
        assert view.viewer.dims.ndisplay == 2
        kinds = {type(layer).__name__ for layer in view.viewer.layers}
        assert "Surface" not in kinds
        if view.image is not None:
            assert view.image.visible
            assert view.mask.visible
            assert isinstance(view.viewer.layers[-1], Labels)


def test_an_empty_mask_has_no_surface(
    panel: ReviewPanel, view: CaseView, qtbot: QtBot
) -> None:
    said: list[str] = []
    view.session.status_changed.connect(said.append)
    view.open("case_0")
    panel.case_view.surfaces.toggle()
    qtbot.waitUntil(
        lambda: any("the mask is empty" in one for one in said), timeout=30_000
    )
    assert view.viewer.dims.ndisplay == 2


def test_the_surface_encloses_the_volume_in_millimetres() -> None:
    import trimesh

    grid = np.indices((30, 40, 40)) * np.reshape(SPACING, (3, 1, 1, 1))
    ball = ((grid - np.reshape((29, 20, 20), (3, 1, 1, 1))) ** 2).sum(0) <= 15**2
    classes = ball.astype(np.uint8)
    corners, faces = meshes(classes, (1, 2), SPACING)[1]
    solid = trimesh.Trimesh(corners, faces, process=False)
    assert abs(solid.volume) == pytest.approx(ball.sum() * 2.0, rel=0.05)
    assert solid.is_watertight
    coarse, _ = surface_mesh(ball, 2)
    assert coarse.mean(axis=0) == pytest.approx([14.5, 20, 20], abs=0.6)


def test_the_palette_of_a_project_is_kept(project: Project) -> None:
    project.recolour("vibrant")
    again = Project.open(project.folder)
    assert again.labels == LabelScheme.parse(["1=left atrium #EE7733"])
    assert again.name == project.name
