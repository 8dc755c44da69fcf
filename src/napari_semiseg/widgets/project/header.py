"""Show project, training and the next step in two lines above the tabs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QMenu, QProgressBar, QPushButton, QSizePolicy, QWidget

from napari_semiseg.widgets.common.next_step import NextStep, Phase, TrainingState
from napari_semiseg.widgets.elements.buttons import KeyButton
from napari_semiseg.widgets.elements.forms import plain, row_of, stack
from napari_semiseg.widgets.elements.style import (
    DONE,
    PROPOSED,
    TROUBLE,
    icon,
    look,
    ring,
    set_icon,
)

if TYPE_CHECKING:
    from qtpy.QtGui import QResizeEvent

ROW, STEP, BAR, ROOMY = 34, 34, 3, 340
SHORT = {
    "Waiting for the processor": "Waiting",
    "Training interrupted": "Interrupted",
    "Training failed": "Failed",
}
"""What a state is called in a narrow panel."""
COLOURS = {Phase.PROPOSING: PROPOSED, Phase.TROUBLE: TROUBLE}


class Header(QWidget):
    """Its height never changes, whatever happens: nothing moves below it.

    Parameters
    ----------
    project_menu, more_menu : QMenu
        Of the project's name, and of the three dots.

    Signals
    -------
    step_requested(NextStep)
        The blue button was pressed.
    training_requested()
        The training chip was pressed.
    """

    step_requested = Signal(object)
    training_requested = Signal()

    def __init__(self, project_menu: QMenu, more_menu: QMenu) -> None:
        super().__init__()
        self.step: NextStep | None = None
        self._words = ""
        self.name = KeyButton("", shape="title", left=True)
        self.name.setMenu(project_menu)
        self.name.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.chip = KeyButton("", shape="state", run=self.training_requested.emit)
        self.chip.setAccessibleName("Training")
        self.chip.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.more = QPushButton()
        look(self.more, "flat")
        set_icon(self.more, "dots_vertical")
        if self.more.icon().isNull():
            self.more.setText("More")
        self.more.setAccessibleName("More")
        self.more.setToolTip("Accept several, export, check, colours, first steps")
        self.more.setMenu(more_menu)
        self.more.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.bar = look(QProgressBar(), "bar")
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(BAR)
        self.bar.setRange(0, 1000)
        self.next_button = KeyButton(
            "", icon="arrow_right", shape="primary", run=self._ask, left=True
        )
        self.next_button.setFixedHeight(STEP)
        self.next_button.elide = Qt.TextElideMode.ElideRight
        row = row_of(self.name, None, self.chip, self.more)
        row.setSpacing(4)
        line = QWidget()
        line.setLayout(row)
        row.setContentsMargins(0, 0, 0, 0)
        line.setFixedHeight(ROW)
        column = stack(self, line, self.bar, self.next_button, margin=0)
        column.setSpacing(0)
        column.insertSpacing(2, 7)
        column.addSpacing(6)
        self.show_training(TrainingState())

    def show_project(self, name: str, folder: str) -> None:
        """Name the open project."""
        self.name.set_step(f"{name} \u25be", "")
        self.name.setToolTip(plain(folder))

    def show_step(self, step: NextStep) -> None:
        """Offer the next step; where another button does it, only point there."""
        self.step = step
        look(self.next_button, "quiet" if step.elsewhere else "primary")
        set_icon(self.next_button, "arrow_down" if step.elsewhere else "arrow_right")
        self.next_button.set_step(f"Next: {step.text}", step.key)
        self.next_button.setToolTip(plain(step.text))

    def show_training(self, state: TrainingState) -> None:
        """Show how far a training is, or nothing."""
        idle = state.phase is Phase.IDLE
        self.bar.setValue(round(1000 * state.part))
        self.bar.setProperty("kind", str(state.phase))
        self.bar.style().unpolish(self.bar)
        self.bar.style().polish(self.bar)
        self.chip.setVisible(not idle)
        self._words = state.text
        self._fit()
        self.chip.setToolTip(plain(state.text) or "No training runs")
        colour = COLOURS.get(state.phase, DONE)
        pictures = {
            Phase.DONE: icon("check_circle", colour),
            Phase.TROUBLE: icon("alert_outline", colour),
        }
        self.chip.setIcon(pictures.get(state.phase) or ring(state.part, colour))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Say only how long it takes where there is little room."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        what, _, left = self._words.partition(" \u00b7 ")
        brief = left or SHORT.get(what, what)
        self.chip.set_step(brief if self.width() < ROOMY else self._words, "")

    def _ask(self) -> None:
        if self.step is not None:
            self.step_requested.emit(self.step)
