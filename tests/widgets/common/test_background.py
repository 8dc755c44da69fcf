"""Work in threads, and what the window does with its result."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtWidgets import QDialog
from superqt.utils import WorkerBase

from napari_semiseg.widgets.common.background import in_background
from napari_semiseg.widgets.common.compat import is_alive
from napari_semiseg.widgets.common.session import Session
from napari_semiseg.widgets.dock import SemisegDock

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.gui


@pytest.mark.parametrize("closed", [False, True])
def test_a_result_is_shown_unless_the_dock_was_closed_meanwhile(
    qtbot: QtBot, closed: bool
) -> None:
    session, go, seen = Session(), Event(), []
    in_background(
        session,
        "Waiting",
        lambda: go.wait(30),
        lambda result: seen.append(result),
        lambda: seen.append("ended"),
        quiet=True,
    )
    session.closed = closed
    go.set()
    qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=10_000)
    qtbot.wait(200)
    assert seen == ([] if closed else [True, "ended"])


def test_a_result_for_a_dialog_that_is_gone_is_not_shown(qtbot: QtBot) -> None:
    session, go, seen, dialog = Session(), Event(), [], QDialog()
    in_background(
        session,
        "Waiting",
        lambda: go.wait(30),
        lambda _: dialog.setWindowTitle("shown"),
        lambda: seen.append(dialog.windowTitle()),
        quiet=True,
        owner=dialog,
    )
    dialog.deleteLater()
    qtbot.waitUntil(lambda: not is_alive(dialog), timeout=10_000)
    with qtbot.captureExceptions() as raised:
        go.set()
        qtbot.waitUntil(lambda: not WorkerBase._worker_set, timeout=10_000)
        qtbot.wait(200)
    assert (raised, seen) == ([], [])


def test_a_panel_that_qt_destroys_counts_as_closed(
    make_napari_viewer: Callable[..., Any], qtbot: QtBot
) -> None:
    dock = SemisegDock(make_napari_viewer())
    session = dock.session
    dock.deleteLater()
    qtbot.waitUntil(lambda: session.closed, timeout=10_000)
