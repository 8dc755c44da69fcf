"""Model the cohort as a table with a row per case."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.text import percent
from napari_semiseg.project.cases.record import DOUBTED, Acceptance
from napari_semiseg.project.review.corrections import effort
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import plain
from napari_semiseg.widgets.elements.tables import RowModel

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from qtpy.QtCore import QObject

    from napari_semiseg.core.prediction import PredictionRecord
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.review.quality_estimate import Estimate, Estimator
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.common.session import Session
    from napari_semiseg.widgets.elements.tables import Index

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
    CaseState.PROPOSED: "a model's prediction that is to be reviewed",
    CaseState.UNLABELLED: "neither label nor prediction",
    CaseState.EXCLUDED: "left out of training and prediction",
}
_HOLLOW = frozenset({CaseState.UNLABELLED, CaseState.EXCLUDED})
SORT_ROLE = Qt.ItemDataRole.UserRole
FILTER_ROLE = SORT_ROLE + 1
FLAG_COLOUR = "#D55E00"
ICON_SIZE = 12
SPLIT_TITLES = {
    Split.TRAIN: "Training",
    Split.VALIDATION: "Validation (scores during training)",
    Split.TEST: "Test (never seen by training)",
}


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
    changed: int | None
    acceptance: Acceptance | None
    waiting: PredictionRecord | None
    flag: str | None = None
    estimate: Estimate | None = None
    explained: str = ""

    @property
    def doubted(self) -> bool:
        """Whether there is a label that nobody has verified."""
        return self.acceptance in DOUBTED


COLUMNS = (
    ("Case", "id", "Name of the image file"),
    ("State", "state", "Who has seen it last: a person or a model"),
    (
        "Dice",
        "dice",
        "How well the prediction agreed with your correction of it;\n"
        "with ~ and its 90 % interval: estimated from the uncertainty",
    ),
    ("Min", "minutes", "Minutes you were active with this case, pauses left out"),
    ("Edits", "changed", "Voxels that the correction changed; k: thousands"),
    ("Unsure", "uncertainty", "Uncertainty of the newest prediction, 0 to 1"),
    ("Done", "annotated", "Share of the volume that a person has labelled"),
    ("Split", "split", "Only cases of the split 'train' are used for training"),
)


SPLIT_COLUMN = [field for _, field, _ in COLUMNS].index("split")
NUMBERS = frozenset({"annotated", "uncertainty", "dice", "minutes", "changed"})


def read_row(case: Case, runs: Sequence[Run], estimator: Estimator) -> Row:
    """Collect what the table shows of a case; ``runs`` are the newest first."""
    run = next((run for run in runs if run.has_prediction(case.id)), None)
    record = None if run is None else run.prediction_record(case.id)
    spent = effort(case.record)
    waits = record is not None and case.state is not CaseState.LABELLED
    row = Row(
        id=case.id,
        state=case.state,
        split=case.split,
        annotated=case.annotated_fraction,
        uncertainty=None if record is None else record.score.uncertainty,
        dice=spent.dice,
        minutes=spent.minutes,
        changed=spent.changed_voxels,
        acceptance=case.acceptance,
        waiting=None if record is None or not waits else _without_slices(record),
        flag=case.record.flag,
    )
    return estimated(row, estimator)


def estimated(row: Row, estimator: Estimator) -> Row:
    """Add the current estimate of Dice to a row."""
    if row.waiting is not None:
        words, estimate = estimator.words(row.waiting), estimator.estimate(row.waiting)
        return replace(row, estimate=estimate, explained=words)
    if row.dice is not None:
        words = f"The prediction agreed with its correction: Dice {row.dice:.2f}"
        return replace(row, explained=words)
    return row


def _without_slices(record: PredictionRecord) -> PredictionRecord:
    """Drop scores of slices, which take much memory in a large cohort."""
    score = record.score.model_copy(update={"slices": ()})
    return record.model_copy(update={"score": score})


class CohortModel(RowModel[Row]):
    """The session's cases as rows; re-read when the session says so."""

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__([(title, tip) for title, _, tip in COLUMNS], parent)
        self._session = session
        self._counts: dict[str, int] = {}
        self._flag = _icon(FLAG_COLOUR, _draw_flag, filled=True)
        self._dots = {state: _dot(state, state in _HOLLOW) for state in CaseState}
        self._unseen_dot = _dot(CaseState.LABELLED, hollow=True)
        connections = Connections(self)
        connections.add(self.reload, session.project_changed)
        connections.add(self.refresh, session.runs_changed, session.cases_changed)

    @property
    def has_splits(self) -> bool:
        """Whether any case is not for training."""
        return any(row.split is not Split.TRAIN for row in self.rows)

    def reload(self) -> None:
        """Read all rows."""
        project = self._session.project
        self.beginResetModel()
        self.rows = []
        if project is not None:
            runs, estimator = project.runs()[::-1], self._session.estimator()
            cases = self._session.cases()
            self.rows = [read_row(case, runs, estimator) for case in cases]
            self._counts = estimator.counts
        self.endResetModel()

    def refresh(self, ids: Collection[str] | None = None) -> None:
        """Read the rows of some cases again, or (None) of all."""
        project = self._session.project
        cases = {case.id: case for case in self._session.cases()}
        known = {row.id: index for index, row in enumerate(self.rows)}
        if project is None or cases.keys() != known.keys():
            self.reload()
            return
        runs, estimator = project.runs()[::-1], self._session.estimator()
        if estimator.counts != self._counts:
            self._counts = estimator.counts
            self.rows = [estimated(row, estimator) for row in self.rows]
            self._redraw(0, len(self.rows) - 1)
        changed = sorted(known[key] for key in known if ids is None or key in ids)
        for index in changed:
            row = self.rows[index]
            self.rows[index] = read_row(cases[row.id], runs, estimator)
        if changed:
            self._redraw(changed[0], changed[-1])

    def _redraw(self, first: int, last: int) -> None:
        end = self.index(last, len(COLUMNS) - 1)
        self.dataChanged.emit(self.index(first, 0), end)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return text, icon, tool tip or sort key of a cell."""
        row, field = self.rows[index.row()], COLUMNS[index.column()][1]
        flag = row.flag if field == "id" else None
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return _text(row, field)
            case Qt.ItemDataRole.DecorationRole if field == "state":
                return self._unseen_dot if row.doubted else self._dots[row.state]
            case Qt.ItemDataRole.DecorationRole if flag is not None:
                return self._flag
            case Qt.ItemDataRole.ToolTipRole:
                return plain(_tip(row, field))
            case Qt.ItemDataRole.TextAlignmentRole if field in NUMBERS:
                return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            case _ if role == SORT_ROLE:
                return _sort_key(row, field)
            case _ if role == FILTER_ROLE:
                text = _text(row, field)
                return text if flag is None else f"{text} flagged {flag}"
        return None


def _text(row: Row, field: str) -> str:
    value = getattr(row, field)
    if field == "dice" and row.estimate is not None:
        return f"~{row.estimate}"
    if field == "state" and row.doubted:
        return f"accepted {row.acceptance}"
    if value is None:
        return "-"
    match field:
        case "annotated":
            return percent(value)
        case "uncertainty" | "dice":
            return f"{value:.2f}"
        case "minutes":
            return f"{value:.1f}"
        case "changed":
            return str(value) if value < 1000 else f"{value / 1000:.3g}k"
    return str(value)


def _tip(row: Row, field: str) -> str:
    if field == "id" and row.flag is not None:
        return f"{row.id}: flagged for a second look. {row.flag}".rstrip()
    if field == "dice" and row.explained:
        return f"{row.id}: {row.explained}"
    if row.acceptance is Acceptance.UNSEEN:
        return f"{row.id}: a prediction was accepted that nobody had opened"
    if row.doubted:
        return f"{row.id}: accepted unchanged, with few of its slices viewed"
    return f"{row.id}: {row.state} ({STATE_MEANING[row.state]})"


def _sort_key(row: Row, field: str) -> Any:
    value = getattr(row, field)
    if field == "state":
        return list(CaseState).index(value) - 0.5 * row.doubted
    if field == "dice" and row.estimate is not None:
        return row.estimate.dice
    if value is None:
        return -1.0
    return str(value) if field in {"id", "split"} else float(value)


def _icon(colour: str, draw: Callable[[QPainter], object], *, filled: bool) -> QIcon:
    pixmap = QPixmap(ICON_SIZE, ICON_SIZE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(colour), 1.6))
    if filled:
        painter.setBrush(QColor(colour))
    draw(painter)
    painter.end()
    return QIcon(pixmap)


def _dot(state: CaseState, hollow: bool) -> QIcon:
    size = ICON_SIZE - 4
    return _icon(
        STATE_COLOURS[state],
        lambda painter: painter.drawEllipse(2, 2, size, size),
        filled=not hollow,
    )


def _draw_flag(painter: QPainter) -> None:
    painter.drawLine(3, 1, 3, ICON_SIZE - 1)
    painter.drawPolygon([QPoint(3, 2), QPoint(ICON_SIZE - 2, 4), QPoint(3, 7)])
