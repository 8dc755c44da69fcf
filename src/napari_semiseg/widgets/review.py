"""The Review tab: what to look at next, tools to correct it, accept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from napari_semiseg.widgets.layers import CaseView
    from napari_semiseg.widgets.session import Session


class ReviewPanel(QWidget):
    """Class buttons, brush, accept, and the queue with reasons."""

    def __init__(
        self, session: Session, case_view: CaseView, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.session = session
        self.case_view = case_view

    def close_panel(self) -> None:
        """Unbind every key and callback; called before the dock goes."""
