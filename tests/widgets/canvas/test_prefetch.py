from __future__ import annotations

import os
import time
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_semiseg.errors import ImageError
from napari_semiseg.project.cases.case import Case
from napari_semiseg.widgets.canvas import prefetch as reading
from napari_semiseg.widgets.canvas.prefetch import Prefetch
from napari_semiseg.widgets.cohort.model import COLUMNS, CohortModel
from napari_semiseg.widgets.cohort.table import MEASURED_ROWS, CaseTable
from napari_semiseg.widgets.elements.connections import Connections
from widgets.conftest import write_volume

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def prefetch(session) -> Iterator[Prefetch]:
    made = Prefetch(session, tuple)
    yield made
    Connections.close_below(made)


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """Ids of the cases whose images are read, in order."""
    seen: list[str] = []
    original = Case.read_images

    def counted(self):
        seen.append(self.id)
        return original(self)

    monkeypatch.setattr(Case, "read_images", counted)
    return seen


def wait_for(reads: list[str], count: int) -> None:
    until = time.monotonic() + 20
    while len(reads) < count and time.monotonic() < until:
        time.sleep(0.01)
    assert len(reads) == count


def test_an_expected_case_is_read_once_and_given_out(project, predict, prefetch, reads):
    predict("case_1", 0.25)
    case, run = project.case("case_1"), project.prediction_run("case_1")
    prefetch.expect([(case, run)])
    wait_for(reads, 1)
    found = prefetch.take(case, run)
    assert reads == ["case_1"]
    assert np.array_equal(found.images[0].data, case.read_image().data)
    assert found.prediction.record.case == "case_1"
    assert np.allclose(found.prediction.uncertainty, 0.25, atol=0.01)


def test_another_case_or_a_changed_file_is_read_anew(project, images, prefetch, reads):
    one, two = project.case("case_0"), project.case("case_1")
    prefetch.expect([(one, None)])
    wait_for(reads, 1)
    assert prefetch.take(two, None).images[0].data.shape == (10, 12, 14)
    assert reads == ["case_0", "case_1"]
    write_volume(images[0], np.full((10, 12, 14), 7, np.int16))
    os.utime(images[0], (1, 1))
    project.add(images[0])  # as it is now
    assert (prefetch.take(project.case("case_0"), None).images[0].data == 7).all()
    assert reads[2:] == ["case_0"]


def test_few_and_only_small_cases_are_held(project, prefetch, reads, monkeypatch):
    cases = [(case, None) for case in project.cases()]
    prefetch.expect(cases)
    wait_for(reads, reading.HELD)
    prefetch.expect(cases[1:2])  # known already
    time.sleep(0.1)
    assert len(reads) == reading.HELD
    monkeypatch.setattr(reading, "LARGEST", 10)
    prefetch.expect(cases[2:3])
    time.sleep(0.1)
    assert len(reads) == reading.HELD
    prefetch.take(*cases[1])  # no longer held
    assert len(reads) == reading.HELD + 1


def test_a_case_that_waits_for_another_is_read_at_once(project, prefetch, monkeypatch):
    first, second = project.case("case_0"), project.case("case_1")
    begun, may_end = Event(), Event()
    original = Case.read_images

    def slow(self):
        if self.id == "case_0":
            begun.set()
            assert may_end.wait(20)
        return original(self)

    monkeypatch.setattr(Case, "read_images", slow)
    prefetch.expect([(first, None), (second, None)])
    assert begun.wait(20)
    try:
        assert prefetch.take(second, None).images[0].data.shape == (10, 12, 14)
        assert not may_end.is_set()
    finally:
        may_end.set()


def test_a_broken_case_is_told_when_it_is_opened(project, images, prefetch):
    images[2].write_bytes(b"no image")
    case = project.case("case_2")
    prefetch.expect([(case, None)])
    with pytest.raises(ImageError, match="case_2"):
        prefetch.take(case, None)


@pytest.fixture
def dock(make_napari_viewer):
    from napari_semiseg.widgets.dock import SemisegDock

    viewer = make_napari_viewer()
    made = SemisegDock(viewer)
    viewer.window.add_dock_widget(made, name="Semiseg")
    return made


def test_the_next_row_is_there_before_it_is_opened(qtbot, dock, project, reads):
    dock.open_project(project.folder)
    dock.session.case_requested.emit("case_1")
    assert reads == ["case_1"]
    qtbot.waitUntil(lambda: reads == ["case_1", "case_2"], timeout=30_000)
    dock.session.case_requested.emit("case_2")
    assert reads == ["case_1", "case_2"]
    assert dock.case_view.image.data.shape == (10, 12, 14)
    qtbot.waitUntil(lambda: reads[2:] == ["case_3"], timeout=30_000)
    dock.shut_down()


def test_columns_of_a_long_table_are_fitted_to_its_first_rows(
    qtbot, session, monkeypatch
):
    model = CohortModel(session)
    table = CaseTable(model)
    qtbot.addWidget(table)
    model.reload()
    first = model.rows[0]
    asked = []
    original = CohortModel.data
    monkeypatch.setattr(
        CohortModel,
        "data",
        lambda self, index, *role: (
            asked.append(index.row()) or original(self, index, *role)
        ),
    )
    model.beginResetModel()
    model.rows = [replace(first, id=f"case_{number:04d}") for number in range(2000)]
    model.endResetModel()
    asked.clear()
    table.fit_columns()
    assert max(asked) <= 2 * MEASURED_ROWS
    assert len(asked) < 2 * MEASURED_ROWS * len(COLUMNS) * 10
