"""Marks and corrections that become masks of real scans, by keyboard and mouse.

Pictures are kept in ``test-artefacts/prompts-walk``, see `person`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
import pytest
from qtpy.QtCore import Qt
from scipy import ndimage

from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases.history import Prompted
from napari_semiseg.project.project import Project
from real_data import data_folder
from widgets.person import (
    LATER_MS,
    LONG_MS,
    PATIENCE,
    SHIFT,
    Heartbeat,
    Person,
    atria,
    tell,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

pytestmark = [
    pytest.mark.gui,
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.timeout(400 * PATIENCE),
]


def one_scan(folder: Path, name: str, labels: dict[str, int]) -> tuple[Project, str]:
    """A project of one scan of a data set, and its id; nothing is labelled."""
    data = data_folder(name)
    case_id = (data / "splits" / "dev_train.list").read_text().split()[0]
    made = Project.create(folder, labels)
    made.add(data / "imagesTr" / f"{case_id}.nii.gz")
    return made, case_id


def along_the_middle(inside: NDArray[np.bool_], count: int = 8) -> NDArray[np.float64]:
    """Places (row, column) of a line through a structure, left to right."""
    deep = ndimage.distance_transform_edt(inside)
    columns = np.flatnonzero((deep > 0.5 * deep.max()).any(axis=0))
    columns = columns[np.linspace(0, len(columns) - 1, count).astype(int)]
    return np.array([[deep[:, column].argmax(), column] for column in columns], float)


def around(inside: NDArray[np.bool_], distance: float) -> NDArray[np.float64]:
    """Places (row, column) of a line around a structure."""
    from skimage.measure import find_contours

    far = ndimage.distance_transform_edt(~inside)
    line = max(find_contours(far, distance), key=len)
    return line[:: max(1, len(line) // 24)]


def draw(person: Person, slice_index: int, line: NDArray[np.float64]) -> None:
    person.trace(np.column_stack([np.full(len(line), slice_index), line]))


@pytest.mark.parametrize(
    ("name", "labels", "value", "distance", "least"),
    [
        ("LA", {"left atrium": 1}, 1, 8.0, 0.65),
        ("ACDC", {"RV": 1, "myocardium": 2, "LV": 3}, 3, 6.0, 0.6),
    ],
)
def test_strokes_on_one_slice_give_a_structure(
    tmp_path: Path,
    window: None,
    qtbot: QtBot,
    no_torch: None,
    name: str,
    labels: dict[str, int],
    value: int,
    distance: float,
    least: float,
) -> None:
    made, case_id = one_scan(tmp_path / name, name, labels)
    person = Person(napari.current_viewer(), qtbot, "prompts-walk")
    assert person.panel.open_project(made.folder)
    person.open_case(case_id)
    view, box = person.panel.case_view, person.panel.review.tool_panel
    assert view.prediction is None
    path = data_folder(name) / "labelsTr" / f"{case_id}.nii.gz"
    truth = read_labels(path, view.case.geometry) == value
    middle = int(truth.sum(axis=(1, 2)).argmax())
    view.go_to(0, middle)
    person.press(Qt.Key(int(Qt.Key.Key_0) + value))
    before = view.mask.data.copy()
    person.press(Qt.Key.Key_C)
    draw(person, middle, along_the_middle(truth[middle]))
    person.wait_for(lambda: "mark some background" in box.text.text())
    person.picture(f"1-{name}-one-stroke")
    person.press(Qt.Key.Key_X)
    draw(person, middle, around(truth[middle], distance))
    assert [one.foreground for one in box.prompting.marks] == [True, False]
    person.wait_for(box.apply_button.isEnabled, LATER_MS)
    person.picture(f"2-{name}-proposed")
    assert np.array_equal(view.mask.data, before)
    person.press(Qt.Key.Key_U)
    encoding = view.editing.encoding
    found = encoding.classes(view.mask.data) == value
    dice = 2 * (found & truth).sum() / (found.sum() + truth.sum())
    tell(f"{name}: Dice {dice:.2f} from two strokes on slice {middle + 1}")
    assert dice > least
    human = encoding.annotated(view.mask.data)
    assert 0 < human.sum() < 0.02 * human.size
    assert not human[np.arange(len(human)) != middle].any()
    assert isinstance(made.case(case_id).record.history[-1], Prompted)
    person.picture(f"3-{name}-kept")
    view.mask.undo()
    assert np.array_equal(view.mask.data, before)
    assert "torch" not in sys.modules


def train_two_minutes(person: Person) -> None:
    person.tab("Train")
    training = person.panel.training
    methods = training.form.method
    person.wait_for(lambda: methods.findData("supervised") >= 0, LATER_MS)
    methods.choose("supervised")
    training.form.minutes.setValue(2)
    person.wait_for(training.start_button.isEnabled)
    person.click(training.start_button)


@pytest.mark.engine
def test_corrections_spread_while_a_model_trains(
    tmp_path: Path, window: None, qtbot: QtBot, no_torch: None
) -> None:
    made, masks = atria(tmp_path / "atria", labelled=2, unlabelled=1)
    case_id = next(case.id for case in made.cases() if not case.has_label)
    person = Person(napari.current_viewer(), qtbot, "prompts-walk")
    assert person.panel.open_project(made.folder)
    person.open_case(case_id)
    view, training = person.panel.case_view, person.panel.training
    box = person.panel.review.tool_panel
    train_two_minutes(person)
    person.wait_for(lambda: view.prediction is not None, 2 * LONG_MS)
    person.tab("Review")
    truth = read_labels(masks / f"{case_id}.nii.gz", view.case.geometry)
    encoding, mask = view.editing.encoding, view.mask
    slices = np.flatnonzero(truth.any(axis=(1, 2)))
    slices = slices[np.linspace(4, len(slices) - 5, 5).astype(int)]
    seconds, busy = [], []
    for number, index in enumerate(slices):
        view.go_to(0, int(index))
        key = (slice(index, index + 1), slice(0, None), slice(0, None))
        mask.put(truth[key], key)
        before = mask.data.copy()
        heart, began = Heartbeat(), time.perf_counter()
        person.press(Qt.Key.Key_U, SHIFT)
        assert box.tool is not None
        person.wait_for(lambda: box.tool is None)
        seconds.append(time.perf_counter() - began)
        busy.append(training.monitor.active)
        heart.stop()
        assert heart.own < PATIENCE, heart.told()
        human = encoding.annotated(before)
        assert np.array_equal(mask.data[human], before[human])
        assert np.array_equal(encoding.annotated(mask.data), human)
        if number == 0:
            assert person.panel._toast.isVisible()
            assert person.panel._toast.text.text().startswith("Refine: left atrium")
            person.picture("4-refined")
            person.click(person.panel._toast.button)
            assert np.array_equal(mask.data, before)
            mask.redo()
    tell(
        f"refined in {np.median(seconds):.2f} s, {np.percentile(seconds, 95):.2f} s at "
        f"most in 95 %; training beside it: {busy}"
    )
    assert np.percentile(seconds, 95) < 2 * PATIENCE
    done = encoding.human(mask.data)[slices]
    assert np.array_equal(done, truth[slices])
    person.picture("5-refined-five-times")
    if training.monitor.active:
        person.tab("Train")
        person.click(training.stop_button)
        person.wait_for(lambda: not training.monitor.active, LONG_MS)
