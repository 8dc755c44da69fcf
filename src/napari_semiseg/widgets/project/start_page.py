"""Offer to create or open a project while none is open."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_semiseg.widgets.common.preferences import recent_projects
from napari_semiseg.widgets.elements.forms import push_button, stack, wrapped_label

BUTTON_HEIGHT = 32


class StartPage(QWidget):
    """Creates a project, opens one, or makes the sample cohort.

    Signals
    -------
    create_requested(), sample_requested()
    open_requested(Path or None)
        A recent project, or any.
    """

    create_requested = Signal()
    open_requested = Signal(object)
    sample_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._recent = QVBoxLayout()
        about = wrapped_label(
            "Label a few scans, train, and correct what the model proposes for others."
        )
        buttons = (
            push_button(
                "Create project…",
                self.create_requested,
                "A new folder for labels and models of your scans",
            ),
            push_button(
                "Open project…",
                lambda: self.open_requested.emit(None),
                "A folder that holds project.toml",
            ),
            push_button(
                "Try the sample cohort",
                self.sample_requested,
                "12 virtual patients made from one public brain MR, no download",
            ),
        )
        for button in buttons:
            button.setMinimumHeight(BUTTON_HEIGHT)
        layout = stack(self, about, *buttons, self._recent, None)
        layout.insertSpacing(1 + len(buttons), 12)
        layout.setSpacing(8)
        self.refresh()

    def refresh(self) -> None:
        """Read the recent projects again."""
        while self._recent.count():
            old = self._recent.takeAt(0).widget()
            old.hide()
            old.deleteLater()
        paths = recent_projects()
        if paths:
            self._recent.addWidget(wrapped_label("Recent projects"))
        for path in paths:
            button = push_button(path.name, tip=str(path))
            button.clicked.connect(lambda _, path=path: self.open_requested.emit(path))
            self._recent.addWidget(button)
