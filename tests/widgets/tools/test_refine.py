"""Refine in the window: one step of proposals, taken back by a message or by Esc."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_semiseg.core.prediction import LOWEST_LOG, FeatureMaps
from napari_semiseg.widgets.common.next_step import Do
from napari_semiseg.widgets.tools import operations
from widgets.viewing import press, store_prediction

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.common.session import Session
    from napari_semiseg.widgets.review.panel import ReviewPanel

CASE = "case_0"


@pytest.fixture
def offers(session: Session) -> list[tuple[str, str, Any]]:
    """What was offered to be taken back: text, button, how."""
    made: list[tuple[str, str, Any]] = []
    session.offered.connect(lambda *offer: made.append(offer))
    return made


@pytest.fixture
def truth(project: Project) -> np.ndarray:
    """Twice as wide as what is predicted."""
    mask = np.zeros(project.case(CASE).geometry.shape_zyx, np.uint8)
    mask[2:8, 4:9, 4:12] = 1
    return mask


@pytest.fixture
def predicted(project: Project, truth: np.ndarray) -> None:
    """A prediction of half the block; one feature tells where all of it is."""
    run = store_prediction(project, CASE)
    case = project.case(CASE)
    made = run.read_prediction(case, case.geometry)
    p = np.where(made.labels, 0.9, 0.1)
    logs = np.log(np.stack([1 - p, p]))
    maps = FeatureMaps(
        np.round((1 - logs / LOWEST_LOG) * 255).astype(np.uint8),
        (255 * truth[None],),
        ((1.0, 1.0, 1.0),),
    )
    run.write_prediction(replace(made, feature_maps=maps), case.image)


def correct(view: CaseView, truth: np.ndarray, index: int) -> None:
    key = (slice(index, index + 1), slice(0, None), slice(0, None))
    view.mask.put(truth[key], key)


def test_the_rest_follows_in_one_step_that_a_message_takes_back(
    panel: ReviewPanel,
    view: CaseView,
    predicted: None,
    truth: np.ndarray,
    qtbot: QtBot,
    offers: list[Any],
) -> None:
    view.open(CASE)
    correct(view, truth, 5)
    before = view.mask.data.copy()
    view.editing.recount()
    step = panel.next_step()
    assert (step.do, step.key) == (Do.REFINE, "Shift-U")
    assert step.text == "refine from 1 done slice"
    press(view, "Shift-U")
    assert np.array_equal(view.mask.data, before)  # computed in a thread
    qtbot.waitUntil(lambda: bool(offers), timeout=30_000)
    assert panel.next_step().do is not Do.REFINE
    after, encoding = view.mask.data.copy(), view.editing.encoding
    human = encoding.annotated(before)
    assert np.array_equal(encoding.annotated(after), human)  # only proposals
    assert np.array_equal(after[human], before[human])
    grown = encoding.classes(after) == 1
    assert grown[4].sum() > 1.5 * (encoding.classes(before) == 1)[4].sum()
    assert view.editing.annotated_only()[5].max() == 1
    text, button, take_back = offers[-1]
    assert text.startswith("Refine: left atrium 0.")
    assert text.endswith(" mL")
    assert button == "Undo"
    take_back()
    assert np.array_equal(view.mask.data, before)
    view.mask.redo()
    assert np.array_equal(view.mask.data, after)

    correct(view, truth, 3)
    panel.tool_panel.predicted.actions()[1].trigger()  # again, with one more slice
    qtbot.waitUntil(lambda: panel.tool_panel.tool is None, timeout=30_000)
    assert (encoding.human(view.mask.data)[[3, 5]] == truth[[3, 5]]).all()
    here = view.mask.data.copy()
    view.mask.paint((0, 0, 0), 1)
    assert not np.array_equal(here, view.mask.data)
    painted = view.mask.data.copy()
    take_back()
    assert np.array_equal(view.mask.data, painted)  # an older step stays


def test_another_case_with_as_much_annotated_is_refined_as_well(
    panel: ReviewPanel,
    view: CaseView,
    project: Project,
    predicted: None,
    truth: np.ndarray,
    qtbot: QtBot,
    offers: list[Any],
) -> None:
    run = project.prediction_run(CASE)
    case, other = project.case(CASE), project.case("case_1")
    made = run.read_prediction(case, case.geometry)
    record = made.record.model_copy(update={"case": other.id})
    *_, maps = run.read_feature_maps(CASE, case.geometry)
    run.write_prediction(replace(made, record=record, feature_maps=maps), other.image)
    view.open(CASE)
    correct(view, truth, 5)
    press(view, "Shift-U")
    qtbot.waitUntil(lambda: bool(offers), timeout=30_000)
    assert panel.next_step().do is not Do.REFINE
    view.open(other.id)
    correct(view, truth, 5)
    view.editing.recount()
    assert panel.next_step().do is Do.REFINE


def test_esc_stops_it_and_a_locked_structure_stays(
    panel: ReviewPanel,
    view: CaseView,
    predicted: None,
    truth: np.ndarray,
    qtbot: QtBot,
    offers: list[Any],
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view.open(CASE)
    correct(view, truth, 5)
    before = view.mask.data.copy()
    done: list[int] = []
    fit = operations.refine_mask

    def watched(*args: Any) -> Any:
        found = fit(*args)
        done.append(found.changed_voxels)
        return found

    monkeypatch.setattr(operations, "refine_mask", watched)
    press(view, "Shift-U")
    worker = panel.tool_panel.worker
    qtbot.waitUntil(lambda: worker._inputs is not None, timeout=30_000)
    press(view, "Escape")
    qtbot.waitUntil(lambda: not panel.tool_panel.worker._busy, timeout=30_000)
    assert done
    assert not offers
    assert np.array_equal(view.mask.data, before)
    panel.lock(1, True)
    press(view, "Shift-U")
    qtbot.waitUntil(lambda: "nothing to change" in said[-1], timeout=30_000)
    assert done[-1] == 0
    assert np.array_equal(view.mask.data, before)
    view.mask.mode = "paint"
    press(view, "Escape")
    assert view.mask.mode == "pan_zoom"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("unpredicted", "No prediction of this case to refine: train and predict."),
        ("no maps", "found none; predict it again"),
        ("uncorrected", "found no voxel annotated; mark a corrected slice as done"),
    ],
)
def test_what_it_cannot_refine_is_one_line(
    panel: ReviewPanel,
    view: CaseView,
    project: Project,
    truth: np.ndarray,
    qtbot: QtBot,
    said: list[str],
    how: str,
    words: str,
) -> None:
    if how != "unpredicted":
        store_prediction(project, CASE)
    view.open(CASE)
    if how != "uncorrected":
        correct(view, truth, 5)
    before = view.mask.data.copy()
    press(view, "Shift-U")
    qtbot.waitUntil(lambda: words in said[-1], timeout=30_000)
    assert "\n" not in said[-1]
    assert panel.tool_panel.tool is None
    assert np.array_equal(view.mask.data, before)
