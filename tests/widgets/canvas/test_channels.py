"""Several images of a case: in view, on all canvases, with contrasts of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_semiseg.project.project import Project
from napari_semiseg.widgets.canvas.case_view import CaseView
from napari_semiseg.widgets.common.session import Session
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.review.actions import review_actions
from napari_semiseg.widgets.review.panel import ReviewPanel
from widgets.conftest import SHAPE, write_volume
from widgets.viewing import Answers, press, store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot


@pytest.fixture
def scans(tmp_path: Path) -> Project:
    """Two cases of T1, about 100, and FLAIR, about 900."""
    for number in range(2):
        for rank, name in enumerate(("T1", "FLAIR")):
            data = np.random.default_rng(rank).normal(100 + 800 * rank, 10, SHAPE)
            path = tmp_path / "scans" / f"p{number}_{name}.nii.gz"
            write_volume(path, data.astype(np.int16))
    made = Project.create(tmp_path / "brain", {"tumour": 1})
    made.add(tmp_path / "scans", channels=("T1=_T1", "FLAIR=_FLAIR"))
    store_prediction(made, "p0")
    return made


@pytest.fixture
def brain(
    qapp: object, scans: Project, make_napari_viewer: Callable[[], Any]
) -> Iterator[CaseView]:
    session = Session()
    session.open_project(scans.folder)
    viewer = make_napari_viewer()
    viewer.window.resize(1600, 900)  # with the maps beside the image
    view = CaseView(session, viewer, Answers())
    yield view
    Connections.close_below(view)


@pytest.fixture
def reviewed(brain: CaseView, qtbot: QtBot) -> Iterator[ReviewPanel]:
    panel = ReviewPanel(brain.session, brain, review_actions())
    qtbot.addWidget(panel)
    panel.show()
    yield panel
    Connections.close_below(panel)


def visible(view: CaseView) -> list[str]:
    return [layer.name for layer in view.viewer.layers if layer.visible]


def test_a_layer_for_each_channel_the_first_in_view(brain: CaseView) -> None:
    assert brain.open("p0")
    names = [layer.name for layer in brain.viewer.layers]
    assert names == ["p0: T1", "p0: FLAIR", "mask"]
    assert visible(brain) == ["p0: T1", "mask"]
    assert brain.viewer.layers.selection.active is brain.mask
    t1, flair = brain.layers.images.all
    assert t1.contrast_limits[1] < 150
    assert flair.contrast_limits[0] > 850
    assert np.array_equal(flair.data, brain.case.read_image(1).data)


def test_the_channel_in_view_is_on_all_canvases(
    brain: CaseView, reviewed: ReviewPanel
) -> None:
    brain.open("p0")
    assert not reviewed.view_bar.channels.isHidden()
    assert reviewed.view_bar.channels.currentText() == "T1"
    press(brain, review_actions()["next_image"].key)
    t1, flair = brain.layers.images.all
    assert visible(brain) == ["p0: FLAIR", "mask"]
    assert brain.image is flair
    assert reviewed.view_bar.channels.currentText() == "FLAIR"
    views = brain.canvases.views
    for side in (views.distance, views.uncertainty):
        assert side.image.data is flair.data
        assert list(side.image.contrast_limits) == list(flair.contrast_limits)
    flair.contrast_limits = (860, 950)
    assert list(views.uncertainty.image.contrast_limits) == [860, 950]
    t1.contrast_limits = (90, 110)
    assert list(views.uncertainty.image.contrast_limits) == [860, 950]
    reviewed.view_bar.channels.textActivated.emit("T1")
    assert visible(brain) == ["p0: T1", "mask"]
    assert list(views.uncertainty.image.contrast_limits) == [90, 110]


def test_eyes_of_the_layer_list_blend_channels(brain: CaseView) -> None:
    brain.open("p0")
    t1, flair = brain.layers.images.all
    flair.visible = True
    assert brain.image is flair
    assert t1.visible
    flair.visible = False
    assert brain.image is t1


def test_the_next_case_opens_with_the_same_channel(brain: CaseView) -> None:
    brain.open("p0")
    brain.layers.images.choose("FLAIR")
    brain.open("p1")
    assert visible(brain) == ["p1: FLAIR", "mask"]
    assert len(brain.viewer.layers) == 3
    assert brain.layers.images.channel == "FLAIR"


def test_removing_any_channel_closes_the_case_and_keeps_edits(
    brain: CaseView, scans: Project
) -> None:
    brain.open("p1")
    brain.mask.paint((5, 6, 6), 1)
    brain.viewer.layers.remove(brain.layers.images.all[1])
    assert brain.case is None
    assert len(brain.viewer.layers) == 0
    assert scans.case("p1").has_draft


def test_one_image_shows_no_choice(
    make_napari_viewer: Callable[[], Any], session: Session, qtbot: QtBot
) -> None:
    view = CaseView(session, make_napari_viewer(), Answers())
    panel = ReviewPanel(session, view, review_actions())
    qtbot.addWidget(panel)
    panel.show()
    view.open("case_0")
    assert panel.view_bar.channels.isHidden()
    press(view, review_actions()["next_image"].key)
    assert visible(view) == ["case_0", "mask"]
    Connections.close_below(panel)
    Connections.close_below(view)
