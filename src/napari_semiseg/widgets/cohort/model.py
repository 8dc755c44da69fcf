"""Model the cohort as a table with a row per case."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.text import percent, shared_ends
from napari_semiseg.project.cases.record import DOUBTED, Acceptance
from napari_semiseg.project.review.corrections import effort
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import plain
from napari_semiseg.widgets.elements.style import DONE, PROPOSED, TROUBLE
from napari_semiseg.widgets.elements.tables import ID_ROLE, RowModel

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from qtpy.QtCore import QObject

    from napari_semiseg.core.prediction import PredictionRecord
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.review.quality_estimate import Estimate, Estimator
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.common.session import Session
    from napari_semiseg.widgets.elements.tables import Index

FLAGGED, TEST = "flagged", "test"


@dataclass(frozen=True, slots=True)
class CaseKind:
    """A kind of case: its icon and colour, and what it means."""

    icon: str
    colour: str
    meaning: str


KINDS = {
    "labelled": CaseKind("circle", DONE, "every voxel was looked at by a person"),
    "partial": CaseKind(
        "circle_half_full", "#f0a830", "a person labelled a part of it"
    ),
    "draft": CaseKind("pencil", "#f0e442", "edits that are not accepted yet"),
    "proposed": CaseKind(
        "circle_outline", PROPOSED, "a model's prediction that is to be reviewed"
    ),
    "unlabelled": CaseKind("minus", "#b4bac2", "neither label nor prediction"),
    "unverified": CaseKind(
        "eye_outline", TROUBLE, "accepted unchanged, with few of its slices viewed"
    ),
    "unseen": CaseKind(
        "eye_off_outline", TROUBLE, "a prediction was accepted that nobody had opened"
    ),
    "excluded": CaseKind("cancel", "#9aa1aa", "left out of training and prediction"),
    FLAGGED: CaseKind("flag", TROUBLE, "flagged for a second look"),
    TEST: CaseKind("flask_outline", "#cfa6ff", "never seen by training"),
}
"""What a case is, in the order in which the table sorts and the filters stand."""
SORT_ROLE = ID_ROLE + 1
ROW_ROLE = SORT_ROLE + 1
SPLIT_TITLES = {
    Split.TRAIN: "Training",
    Split.VALIDATION: "Check (scores during training)",
    Split.TEST: "Test (never seen by training)",
}
USES = {Split.TRAIN: "Train", Split.VALIDATION: "Check", Split.TEST: "Test"}


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
    def kind(self) -> str:
        """State, or how a label was accepted that nobody has verified."""
        doubted = self.acceptance in DOUBTED and self.state is not CaseState.EXCLUDED
        return str(self.acceptance if doubted else self.state)

    @property
    def kinds(self) -> frozenset[str]:
        """All of `KINDS` that the case is."""
        found = {self.kind}
        found |= {FLAGGED} if self.flag is not None else set()
        return frozenset(found | ({TEST} if self.split is Split.TEST else set()))

    @property
    def words(self) -> str:
        """What a search looks at, in lower case."""
        marked = "" if self.flag is None else f"{FLAGGED} {self.flag}"
        return f"{self.id} {self.kind} {USES[self.split]} {marked}".casefold()

    @property
    def quality(self) -> str:
        """How good the prediction is or was, or why that is not known."""
        if self.waiting is not None:
            if self.estimate is not None:
                return str(self.estimate)
            empty = not any(self.waiting.score.volumes_ml.values())
            return "empty" if empty else f"doubt {self.uncertainty:.2f}"
        if self.dice is not None:
            return f"{self.dice:.2f} measured"
        if self.acceptance is Acceptance.UNSEEN:
            return "unseen: not counted"
        if self.acceptance is Acceptance.UNVERIFIED:
            return "untouched: not counted"
        whole = self.state is CaseState.LABELLED
        return "not measured" if whole else "no prediction"


COLUMNS = (
    ("Case", "id", "Name of the image file"),
    ("State", "state", "Who has seen it last: a person or a model"),
    ("Use", "use", "Only cases for training are learnt from; Check and Test score"),
    ("Annotated", "annotated", "Share of the volume that a person has labelled"),
    (
        "Quality",
        "quality",
        "Dice of the prediction. Solid: measured, by your correction of it.\n"
        "Hollow: estimated, with the range that holds it for 4 of 5 cases.\n"
        "Sorted, the worst of those that wait for you come first",
    ),
    ("Min", "minutes", "Minutes you were active with this case, pauses left out"),
    ("", "tick", "Tick cases to act on several (Space; Ctrl+A: all that are shown)"),
)
FIELDS = [field for _, field, _ in COLUMNS]


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
        if row.changed is not None:
            words += f", {row.changed:,} voxels changed"
        return replace(row, explained=words)
    return row


def _without_slices(record: PredictionRecord) -> PredictionRecord:
    """Drop scores of slices, which take much memory in a large cohort."""
    score = record.score.model_copy(update={"slices": ()})
    return record.model_copy(update={"score": score})


class CohortModel(RowModel[Row]):
    """The session's cases as rows; re-read when the session says so.

    Attributes
    ----------
    shared_ends : (int, int)
        How many letters all ids begin and end with.
    """

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        titles = [(title, tip) for title, _, tip in COLUMNS]
        super().__init__(titles, parent, ticks=FIELDS.index("tick"))
        self._session = session
        self.shared_ends = 0, 0
        self._counts: dict[str, int] = {}
        connections = Connections(self)
        connections.add(self.reload, session.project_changed)
        connections.add(self.refresh, session.runs_changed, session.cases_changed)

    def id_of(self, item: Row) -> str:
        """Id of a case."""
        return item.id

    def empty_fields(self) -> set[str]:
        """Columns that say nothing of any case."""
        filled = {
            "use": any(row.split is not Split.TRAIN for row in self.rows),
            "annotated": any(row.annotated for row in self.rows),
            "minutes": any(row.minutes for row in self.rows),
            "quality": any(
                row.waiting is not None or row.dice is not None for row in self.rows
            ),
        }
        return {field for field, known in filled.items() if not known}

    def reload(self) -> None:
        """Read all rows."""
        project = self._session.project
        self.beginResetModel()
        self.rows, before = [], self.checked
        if project is not None:
            runs, estimator = project.runs()[::-1], self._session.estimator()
            cases = self._session.cases()
            self.rows = [read_row(case, runs, estimator) for case in cases]
            self._counts = estimator.counts
        self.checked = before & {row.id for row in self.rows}
        self.shared_ends = shared_ends([row.id for row in self.rows])
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
        """Return text, tool tip, sort key or row of a cell."""
        row, field = self.rows[index.row()], FIELDS[index.column()]
        if role == ROW_ROLE:
            return row
        if role == SORT_ROLE:
            return _sort_key(row, field)
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(row, field)
        if role == Qt.ItemDataRole.ToolTipRole:
            return plain(_tip(row, field))
        return super().data(index, role)


def _text(row: Row, field: str) -> str:
    match field:
        case "id":
            return row.id
        case "state":
            return row.kind
        case "use":
            return USES[row.split]
        case "annotated":
            return percent(row.annotated)
        case "quality":
            return row.quality
        case "minutes":
            return "\u2013" if row.minutes is None else f"{row.minutes:.1f}"
    return ""


def _tip(row: Row, field: str) -> str:
    if field == "id" and row.flag is not None:
        return f"{row.id}: flagged for a second look. {row.flag}".rstrip()
    if field == "quality" and row.explained:
        return f"{row.id}: {row.explained}"
    return f"{row.id}: {row.kind} ({KINDS[row.kind].meaning})"


def _sort_key(row: Row, field: str) -> Any:
    match field:
        case "state":
            return list(KINDS).index(row.kind)
        case "annotated":
            return row.annotated
        case "minutes":
            return -1.0 if row.minutes is None else row.minutes
        case "quality":
            return _doubtful_first(row)
    return _text(row, field)


def _doubtful_first(row: Row) -> float:
    """Put empty predictions before others that wait, then what is known, then rest."""
    if row.waiting is not None:
        if row.estimate is not None:
            return 1 + row.estimate.dice
        empty = not any(row.waiting.score.volumes_ml.values())
        return 0.0 if empty else 3 - (row.uncertainty or 0.0)
    return 6.0 if row.dice is None else 4 + row.dice
