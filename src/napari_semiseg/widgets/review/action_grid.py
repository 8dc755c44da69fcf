"""Lay out the buttons of actions in rows that fit a narrow dock."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Generic

from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget

from napari_semiseg.widgets.common.actions import C
from napari_semiseg.widgets.common.forms import action_button

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_semiseg.widgets.common.actions import Action

COLUMNS = 12


class ActionGrid(QWidget, Generic[C]):
    """Buttons of actions, one row for each value of `Action.row`.

    Parameters
    ----------
    actions : iterable of Action
        In the order in which their buttons stand in a row.
    panel : object
        What the actions are run with.
    """

    def __init__(self, actions: Iterable[Action[C]], panel: C) -> None:
        super().__init__()
        self._actions = sorted(actions, key=lambda action: action.row)
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        for row, group in groupby(self._actions, lambda action: action.row):
            together = list(group)
            span = COLUMNS // len(together)
            for column, action in enumerate(together):
                button = action_button(action, panel)
                grid.addWidget(button, row, column * span, 1, span)
                self.buttons[action.id] = button
        for column in range(COLUMNS):
            grid.setColumnStretch(column, 1)

    def show_case(self, *, is_open: bool) -> None:
        """Enable the buttons of the actions that can be run now."""
        for action in self._actions:
            self.buttons[action.id].setEnabled(is_open or not action.needs_case)
