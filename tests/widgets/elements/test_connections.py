"""Connections to signals that outlive a widget."""

from __future__ import annotations

import gc
import weakref

import pytest
from napari.components import ViewerModel
from psygnal import Signal
from qtpy.QtWidgets import QApplication, QWidget

from napari_semiseg.widgets.elements.connections import Connections

pytestmark = pytest.mark.gui


class Model:
    changed = Signal(int)


class Label(QWidget):
    def __init__(self, model: Model, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.seen: list[int] = []
        self.connections = Connections(self)
        self.connections.add(self.seen_more, model.changed)

    def seen_more(self, value: int) -> None:
        self.seen.append(value)


@pytest.fixture
def model(qapp: QApplication) -> Model:
    return Model()


def test_destroyed_owner_is_disconnected_though_its_wrapper_lives(model: Model) -> None:
    parent = QWidget()
    label = Label(model, parent)
    closed: list[bool] = []
    label.connections.at_close(lambda: closed.append(True))
    model.changed.emit(1)

    parent.deleteLater()
    QApplication.sendPostedEvents(None, 52)  # deferred deletion
    model.changed.emit(2)

    assert label.seen == [1]
    assert closed == [True]
    assert len(model.changed) == 0


def test_connecting_keeps_no_widget_alive(model: Model) -> None:
    label = Label(model)
    gone = weakref.ref(label)

    del label
    gc.collect()

    assert gone() is None
    assert len(model.changed) == 0


def test_closing_below_undoes_the_newest_first_and_once(model: Model) -> None:
    outer = Label(model)
    order: list[str] = []
    outer.connections.at_close(lambda: order.append("outer, first"))
    outer.connections.at_close(lambda: order.append("outer, second"))
    inner = Label(model, QWidget(outer))
    inner.connections.at_close(lambda: order.append("inner"))

    Connections.close_below(outer)
    Connections.close_below(outer)
    model.changed.emit(1)

    assert order == ["inner", "outer, second", "outer, first"]
    assert (inner.seen, outer.seen) == ([], [])
    outer.deleteLater()


def test_closed_connections_can_follow_something_else(qapp: QApplication) -> None:
    before, after = ViewerModel(), ViewerModel()
    seen: list[object] = []
    connections = Connections()
    connections.add(seen.append, before.dims.events.ndisplay)

    connections.close()
    connections.add(seen.append, after.dims.events.ndisplay)
    before.dims.ndisplay = 3
    after.dims.ndisplay = 3

    assert len(seen) == 1
    connections.close()
