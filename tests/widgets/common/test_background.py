"""Work in threads, and what the window does with its result."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING

import pytest
from superqt.utils import WorkerBase

from napari_semiseg.widgets.common.background import in_background
from napari_semiseg.widgets.common.session import Session

if TYPE_CHECKING:
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
