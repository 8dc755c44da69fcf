"""Model predictions and labels as a table with pictures and ticks."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon, QPixmap

from napari_semiseg.core.text import millilitres
from napari_semiseg.project.cases.record import DOUBTED
from napari_semiseg.project.review.accept import ReviewItem
from napari_semiseg.widgets.common.planes import NAMES
from napari_semiseg.widgets.common.thumbnails import Thumbnails, draw_case
from napari_semiseg.widgets.elements.forms import plain
from napari_semiseg.widgets.elements.tables import RowModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QObject
    from qtpy.QtGui import QImage

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.widgets.elements.tables import Index

COLUMNS = ("Case", *NAMES)
ItemRole = Qt.ItemDataRole


class Show(StrEnum):
    """Which cases are listed."""

    WAITING = "Predictions to decide on"
    UNSEEN = "Accepted unseen"
    ACCEPTED = "All accepted"


class Order(StrEnum):
    """Which come first."""

    WORST = "Worst first"
    BEST = "Best first"
    NAME = "By name"


class GalleryModel(RowModel[ReviewItem]):
    """A row per case: what is known of it, a tick, and three pictures.

    Pictures are made only of the rows on the screen.
    """

    def __init__(self, scheme: LabelScheme, parent: QObject | None = None) -> None:
        super().__init__([(title, "") for title in COLUMNS], parent)
        self.thumbnails = Thumbnails(self)
        self._scheme = scheme
        self.thumbnails.ready.connect(self._drawn)
        self._all: list[ReviewItem] = []
        self._places: dict[str, int] = {}

    def set_items(self, found: Sequence[ReviewItem]) -> None:
        """Replace the cases."""
        self._all = list(found)
        self.checked &= {item.case.id for item in found}

    def arrange(self, show: Show, order: Order) -> None:
        """List some cases in some order; only what is listed stays ticked."""
        self.beginResetModel()
        listed = [item for item in self._all if _belongs(item, show)]
        if order is Order.NAME:
            listed.sort(key=lambda item: item.case.id)
        else:
            sign = -1 if order is Order.WORST else 1
            listed.sort(key=lambda item: (sign * item.doubt, item.case.id))
        self.rows = listed
        self._places = {item.case.id: row for row, item in enumerate(listed)}
        self.checked &= self._places.keys()
        self.endResetModel()

    def id_of(self, item: ReviewItem) -> str:
        """Id of a case."""
        return item.case.id

    def ticked(self) -> list[ReviewItem]:
        """Return the ticked cases, in the order of the table."""
        return [item for item in self.rows if item.case.id in self.checked]

    def data(self, index: Index, role: int = ItemRole.DisplayRole) -> Any:
        """Return text and tick of a case, or one of its pictures."""
        item = self.rows[index.row()]
        if index.column() == 0:
            if role == ItemRole.DisplayRole:
                return describe(item)
            if role == ItemRole.ToolTipRole:
                words = f": {item.words}" if item.words else ""
                return plain(f"{item.case.id}{words}")
        if not index.column() or role not in (
            ItemRole.DecorationRole,
            ItemRole.DisplayRole,
        ):
            return super().data(index, role)
        made = self.pictures(item)
        if role == ItemRole.DecorationRole:
            return None if isinstance(made, str | None) else _picture(made, index)
        if made is None:
            return "\u2026"
        return made if isinstance(made, str) and index.column() == 1 else None

    def pictures(self, item: ReviewItem) -> list[QImage] | str | None:
        """Pictures of a case; another mask or prediction has others."""
        case, record = item.case, item.record
        made = None if record is None else (record.step, record.at)
        key = (case.id, item.mask, made, len(case.record.history))
        return self.thumbnails.get(
            key, partial(draw_case, case, item.mask, self._scheme)
        )

    def _drawn(self, case_id: str) -> None:
        row = self._places.get(case_id)
        if row is not None:
            last = self.index(row, len(COLUMNS) - 1)
            self.dataChanged.emit(self.index(row, 1), last)


def describe(item: ReviewItem) -> str:
    """Describe a case, one fact a line."""
    lines = [item.case.id]
    if item.accepted:
        kind = item.case.acceptance
        lines.append(f"accepted {kind}" if kind in DOUBTED else "accepted")
    else:
        lines.append("opened before" if item.seen else "never opened")
        if item.estimate is not None:
            lines.append(f"Dice {item.estimate}")
        elif item.record is not None:
            lines.append(f"unsure {item.record.score.uncertainty:.2f}")
    if item.record is not None and not item.accepted:
        volumes = item.record.score.volumes_ml
        lines += [f"{name}: {millilitres(ml)} mL" for name, ml in volumes.items()][:3]
    return "\n".join(lines)


def _belongs(item: ReviewItem, show: Show) -> bool:
    if show is Show.WAITING:
        return not item.accepted
    return item.accepted and (show is Show.ACCEPTED or not item.seen)


def _picture(made: Sequence[QImage], index: Index) -> QIcon:
    """Make an icon that keeps its grey values in a selected row."""
    pixmap, icon = QPixmap.fromImage(made[index.column() - 1]), QIcon()
    for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):
        icon.addPixmap(pixmap, mode)
    return icon
