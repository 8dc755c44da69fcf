"""A real training in the real window, from *Start* to what it changed.

Pictures of every state in both themes are kept in ``test-artefacts/train``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
import pytest
from napari.settings import get_settings

from napari_semiseg.commands import open_panel
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.project.runs.pictures import Pictures
from napari_semiseg.widgets.common.next_step import Phase, TrainingState
from napari_semiseg.widgets.dock import SemisegDock
from napari_semiseg.widgets.train.quality import AGREEMENT
from widgets.person import LATER_MS, LONG_MS, PATIENCE, ROOT
from widgets.viewing import store_prediction

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project

pytestmark = [
    pytest.mark.gui,
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.timeout(400 * PATIENCE),
]
STEPS = 1000
WIDEST = 276
"""Pixels that the panel has for a tab in a small window."""
SIZES = ((1280, 720), (1366, 768), (1920, 1080))


def keep(dock: SemisegDock, qtbot: QtBot, state: str, *sizes: tuple[int, int]) -> None:
    """Keep pictures of the window in both themes."""
    kept = Path(os.environ.get("SEMISEG_ARTEFACTS", ROOT / "test-artefacts")) / "train"
    kept.mkdir(parents=True, exist_ok=True)
    window = dock.window()
    for theme in ("light", "dark"):
        get_settings().appearance.theme = theme
        for size in sizes or SIZES[-1:]:
            window.resize(*size)
            qtbot.wait(200)
            assert window.grab().save(str(kept / f"{state}-{theme}-{size[0]}.png"))


def test_a_training_is_never_silent_and_shows_a_scan_getting_better(
    project: Project, window: None, qtbot: QtBot, no_torch: None
) -> None:
    before = store_prediction(project, "case_1", shift=3)
    before.append(Started(run=before.id, method="supervised", pid=1))
    before.append(Finished(run=before.id, reason="completed", step=5, seconds=60))
    before.claim(2**22 - 1)
    shape = project.case("case_0").geometry.shape_zyx
    mask = np.zeros(shape, np.uint8)
    mask[3:7, 4:9, 4:8] = 1
    project.set_label("case_0", mask)
    dock: SemisegDock = open_panel(napari.current_viewer())
    dock.window().resize(*SIZES[-1])
    dock.open_project(project.folder)
    dock.show_tab("Train")
    training, told = dock.training, list[TrainingState]()
    training.state_changed.connect(told.append)
    form = training.form
    form.method.setCurrentIndex(form.method.findData("supervised"))
    form.steps.setValue(STEPS)
    keep(dock, qtbot, "1-start", *SIZES)
    training.start_button.click()
    run = training.monitor.run
    assert run is not None
    qtbot.waitUntil(lambda: bool(told) and told[-1].part > 0.5, timeout=2 * LONG_MS)
    keep(dock, qtbot, "2-training")
    qtbot.waitUntil(
        lambda: told[-1].phase in (Phase.PROPOSING, Phase.DONE), timeout=LONG_MS
    )
    keep(dock, qtbot, "3-proposing")
    qtbot.waitUntil(lambda: not training.monitor.active, timeout=LONG_MS)
    phases = [state.phase for state in told]
    assert phases.index(Phase.TRAINING) < phases.index(Phase.PROPOSING)
    assert told[-1].phase is Phase.DONE
    assert told[-1].text == "3 scans proposed"
    assert dock.header.chip.text() == told[-1].text
    assert any(state.text.startswith("Training \u00b7 ") for state in told)
    assert any(state.text.startswith("Proposing \u00b7 1 of 3") for state in told)
    stored = Pictures.read(run.folder.pictures)
    assert stored is not None
    assert len(stored.steps) >= 2
    assert stored.spent <= 0.01 * run.seconds
    qtbot.waitUntil(training.pictures.isVisible, timeout=LATER_MS)
    assert training.pictures.title.text() == "A scan without a label"
    assert training.progress.quality.measure is AGREEMENT
    qtbot.waitUntil(lambda: training.changes.found is not None, timeout=LATER_MS)
    found = training.changes.found
    assert found is not None
    assert (found.before, found.run) == (before.id, run.id)
    assert [item.case for item in found.cases] == ["case_1"]
    keep(dock, qtbot, "4-changed", *SIZES)
    assert training.minimumSizeHint().width() <= WIDEST
    training.changes.open_button.click()
    qtbot.waitUntil(lambda: dock.session.case_id == "case_1", timeout=LATER_MS)
    assert "torch" not in sys.modules
