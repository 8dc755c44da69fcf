"""Choose the computer that trains."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLineEdit, QWidget

from napari_semiseg.widgets.elements.forms import stack

PLACES = (
    ("This computer", ""),
    ("Another one, by ssh", "ssh:"),
    ("SLURM", "slurm"),
    ("SLURM, through ssh", "slurm:"),
    ("Dask scheduler", "tcp://"),
    ("Dask scheduler, encrypted", "tls://"),
)
"""Where a training can run, with the beginning of its name."""


class PlaceField(QWidget):
    """A list of kinds of places, and the host of those that need one."""

    valueChanged = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.kind = QComboBox()
        self.kind.setToolTip("Which computer trains; it must see this folder too")
        self.kind.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.kind.setAccessibleName("Run on")
        for title, beginning in PLACES:
            self.kind.addItem(title, beginning)
        self.host = QLineEdit()
        self.host.setAccessibleName("Name of the computer")
        self.host.setToolTip("As ssh knows it, or host:port of a Dask scheduler")
        self.host.hide()
        stack(self, self.kind, self.host, margin=0)
        self.kind.currentIndexChanged.connect(self._kind_changed)
        self.host.textChanged.connect(self.valueChanged)

    def value(self) -> str:
        """Name the place as `executor_at` takes it; empty for this computer."""
        kind: str = self.kind.currentData()
        return f"{kind}{self.host.text().strip()}" if _has_host(kind) else kind

    def _kind_changed(self, _row: int) -> None:
        kind: str = self.kind.currentData()
        self.host.setVisible(_has_host(kind))
        self.host.setPlaceholderText("host:port" if "/" in kind else "host")
        self.valueChanged.emit()


def _has_host(kind: str) -> bool:
    return kind.endswith((":", "/"))
