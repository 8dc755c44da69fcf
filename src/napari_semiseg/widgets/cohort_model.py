"""The cohort as a table model: one row per case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap

from napari_semiseg.core.case import CaseState, Split

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from napari_semiseg.project.cases import Case
    from napari_semiseg.project.runs import Run
    from napari_semiseg.widgets.session import Session

STATE_COLOURS = {
    CaseState.LABELLED: "#009E73",
    CaseState.PARTIAL: "#E69F00",
    CaseState.DRAFT: "#F0E442",
    CaseState.PROPOSED: "#56B4E9",
    CaseState.UNLABELLED: "#9A9FA6",
    CaseState.EXCLUDED: "#5A5F66",
}
STATE_MEANING = {
    CaseState.LABELLED: "every voxel was looked at by a person",
    CaseState.PARTIAL: "a person labelled a part of it",
    CaseState.DRAFT: "edits that are not accepted yet",
    CaseState.PROPOSED: "a model's prediction waits for review",
    CaseState.UNLABELLED: "neither label nor prediction",
    CaseState.EXCLUDED: "left out of training and prediction",
}
_HOLLOW = frozenset({CaseState.UNLABELLED, CaseState.EXCLUDED})
SORT_ROLE = Qt.ItemDataRole.UserRole


@dataclass(frozen=True, slots=True)
class Row:
    """One case as the table shows it; ``None`` where there is nothing to say."""

    id: str
    state: CaseState
    split: Split
    annotated: float
    uncertainty: float | None
    dice: float | None
    minutes: float | None


COLUMNS = (
    ("Case", "id", "Name of the image file"),
    ("State", "state", "Who has seen it last: a person or a model"),
    ("Done", "annotated", "Share of the volume that a person has labelled"),
    ("Unsure", "uncertainty", "Uncertainty of the newest prediction, 0 to 1"),
    ("Dice", "dice", "How well the prediction agreed with your correction of it"),
    ("Min", "minutes", "Minutes spent on labelling this case"),
    ("Split", "split", "Only cases of the split 'train' are used for training"),
)


NUMBERS = frozenset({"annotated", "uncertainty", "dice", "minutes"})


def read_row(case: Case, runs: Sequence[Run]) -> Row:
    """Collect what the table shows of a case; ``runs`` are the newest first."""
    run = next((run for run in runs if run.has_prediction(case.id)), None)
    history = case.record.history
    minutes = [entry.minutes for entry in history if entry.minutes]
    scores = [entry.details.get("corrective_dice") for entry in history]
    dice = next((score for score in reversed(scores) if score is not None), None)
    return Row(
        id=case.id,
        state=case.state,
        split=case.split,
        annotated=case.annotated_fraction,
        uncertainty=(
            None if run is None else run.prediction_record(case.id).score.uncertainty
        ),
        dice=dice,
        minutes=sum(minutes) if minutes else None,
    )


class CohortModel(QAbstractTableModel):
    """The session's cases as rows; re-read when the session says so."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.rows: list[Row] = []
        self._dots = {state: _dot(state) for state in CaseState}
        session.project_changed.connect(self.reload)
        session.runs_changed.connect(self.refresh)
        session.cases_changed.connect(self.refresh)

    def reload(self) -> None:
        """Read all rows."""
        project = self._session.project
        self.beginResetModel()
        self.rows = []
        if project is not None:
            runs = project.runs()[::-1]
            self.rows = [read_row(case, runs) for case in self._session.cases()]
        self.endResetModel()

    def refresh(self, ids: Collection[str] | None = None) -> None:
        """Read the rows of some cases again, or (None) of all."""
        project = self._session.project
        cases = {case.id: case for case in self._session.cases()}
        known = {row.id: index for index, row in enumerate(self.rows)}
        if project is None or cases.keys() != known.keys():
            self.reload()
            return
        runs = project.runs()[::-1]
        changed = sorted(known[key] for key in (known if ids is None else ids))
        for index in changed:
            self.rows[index] = read_row(cases[self.rows[index].id], runs)
        if changed:
            self.dataChanged.emit(
                self.index(changed[0], 0), self.index(changed[-1], len(COLUMNS) - 1)
            )

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Number of cases."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Number of columns."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Title and explanation of a column."""
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return COLUMNS[section][0]
            if role == Qt.ItemDataRole.ToolTipRole:
                return COLUMNS[section][2]
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text, dot, explanation or sort key of a cell."""
        row, field = self.rows[index.row()], COLUMNS[index.column()][1]
        value = getattr(row, field)
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(field, value)
        if role == Qt.ItemDataRole.DecorationRole and field == "state":
            return self._dots[row.state]
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{row.id}: {row.state} ({STATE_MEANING[row.state]})"
        if role == Qt.ItemDataRole.TextAlignmentRole and field in NUMBERS:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == SORT_ROLE:
            return _sort_key(field, value)
        return None


def _text(field: str, value: Any) -> str:
    if value is None:
        return "-"
    match field:
        case "annotated":
            return percent(value)
        case "uncertainty" | "dice":
            return f"{value:.2f}"
        case "minutes":
            return f"{value:.1f}"
    return str(value)


def percent(part: float) -> str:
    """Write a part of 1; what is begun is not 0 %, what is not whole not 100 %."""
    rounded = round(100 * part)
    if 0 < part < 1 and rounded in (0, 100):
        return "<1 %" if rounded == 0 else ">99 %"
    return f"{rounded} %"


def _sort_key(field: str, value: Any) -> Any:
    if field == "state":
        return list(CaseState).index(value)
    if value is None:
        return -1.0
    return str(value) if field in {"id", "split"} else float(value)


def _dot(state: CaseState, size: int = 12) -> QIcon:
    pixmap = QPixmap(size, size)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    colour = QColor(STATE_COLOURS[state])
    painter.setPen(QPen(colour, 1.6))
    if state not in _HOLLOW:
        painter.setBrush(colour)
    painter.drawEllipse(2, 2, size - 4, size - 4)
    painter.end()
    return QIcon(pixmap)
