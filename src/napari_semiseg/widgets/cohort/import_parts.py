"""Lists of the dialog that takes images in: pairs, series, structures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QHeaderView,
    QScrollArea,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.io.dicom.series import Series
    from napari_semiseg.project.importing.preview import ImportPreview, Pair

ROW = 22
MOST_ROWS = 6
STRUCTURE, MOST_STRUCTURES = 30, 4
"""Pixels of a structure's row, and how many are seen without scrolling."""
ON, OFF = Qt.CheckState.Checked, Qt.CheckState.Unchecked
ROLE = Qt.ItemDataRole.UserRole


class FileList(QTreeWidget):
    """A list of columns, long paths elided in the middle and told in full."""

    def __init__(self, titles: Sequence[str], stretched: int) -> None:
        super().__init__()
        self.setHeaderLabels(list(titles))
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        # napari's style leaves an empty box all but invisible.
        self.setStyleSheet("QTreeView::indicator:unchecked {border: 1px solid #999}")
        header = self.header()
        header.setStretchLastSection(False)
        for column in range(len(titles)):
            mode = QHeaderView.ResizeMode.Interactive
            if column == stretched:
                mode = QHeaderView.ResizeMode.Stretch
            header.setSectionResizeMode(column, mode)


class PairList(FileList):
    """Which mask goes with which image; what is ticked is taken in.

    Signals
    -------
    changed()
        Another row is ticked.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__(("Case", "Images", "Mask", "Remark"), 3)
        for column, width in enumerate((150, 230, 180)):
            self.setColumnWidth(column, width)
        self.itemChanged.connect(lambda *_: self.changed.emit())

    def show_pairs(self, survey: ImportPreview) -> None:
        """Fill in what was found."""
        masked = any(pair.mask is not None for pair in survey.pairs)
        self.blockSignals(True)
        self.clear()
        for pair in survey.pairs:
            remark = "; ".join(survey.notes.get(pair.case, ()))
            if pair.known:
                remark = "in the project already"
            if pair.labelled:
                remark = "labelled already: tick to replace it; the old one is kept"
            elif pair.mask is None and masked:
                remark = remark or "no mask has its name"
            several = len(pair.channels) > 1
            images = ", ".join(pair.channels) if several else _short(pair.images[0])
            mask = "\u2013" if pair.mask is None else pair.mask.name
            item = QTreeWidgetItem([pair.case, images, mask, remark])
            item.setToolTip(1, "\n".join(map(str, pair.images)))
            item.setToolTip(2, "" if pair.mask is None else str(pair.mask))
            item.setToolTip(3, remark)
            item.setData(0, ROLE, pair)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(0, OFF if pair.labelled else ON)
            self.addTopLevelItem(item)
        self.blockSignals(False)
        self.changed.emit()

    def chosen(self) -> list[Pair]:
        """What is ticked."""
        items = (self.topLevelItem(row) for row in range(self.topLevelItemCount()))
        return [item.data(0, ROLE) for item in items if item.checkState(0) == ON]


class SeriesChoice(QGroupBox):
    """DICOM series of folders that hold several, to be ticked.

    A tick counts for the series of the same description in the other folders too, as
    long as nothing is ticked in these.

    Signals
    -------
    changed()
        Another series is ticked.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("Several series in one folder: tick the ones to take")
        self.list = FileList(("Series", "Description", "Date", "Slices"), 1)
        self.list.setRootIsDecorated(True)
        for column, width in ((0, 200), (2, 100), (3, 70)):
            self.list.setColumnWidth(column, width)
        self.list.itemChanged.connect(self._ticked)
        self.together = QCheckBox(
            "The ticked series of a folder lie on one grid: several images of one case"
        )
        self.together.toggled.connect(lambda _: self.changed.emit())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.list)
        layout.addWidget(self.together)
        self.hide()

    def show_folders(self, folders: Mapping[Path, Sequence[Series]]) -> None:
        """List the series; ticks of series that are listed already stay."""
        before = set(self.chosen())
        self.list.blockSignals(True)
        self.list.clear()
        for folder, found in folders.items():
            parent = QTreeWidgetItem([folder.name])
            parent.setToolTip(0, str(folder))
            parent.setFlags(Qt.ItemFlag.ItemIsEnabled)
            self.list.addTopLevelItem(parent)
            for series in found:
                name = series.description or "no description"
                count = "" if series.has_frames else str(len(series.files))
                item = QTreeWidgetItem([series.number, name, series.date, count])
                item.setData(0, ROLE, _called(series))
                item.setFlags(
                    Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable
                )
                item.setCheckState(0, ON if _called(series) in before else OFF)
                parent.addChild(item)
        self.list.expandAll()
        self.list.blockSignals(False)
        rows = min(MOST_ROWS, sum(1 + len(found) for found in folders.values()))
        self.list.setFixedHeight(ROW * (rows + 1) + 14)
        self.setVisible(bool(folders))

    def chosen(self) -> tuple[str, ...]:
        """What `Project.add` is told of the series that are ticked."""
        return tuple(str(item.data(0, ROLE)) for item in self._items() if _is_on(item))

    def channels(self) -> tuple[str, ...]:
        """``NAME=DESCRIPTION`` of the ticked series, where they are of one case."""
        told = dict.fromkeys(item.text(1) for item in self._items() if _is_on(item))
        several = self.together.isChecked() and len(told) > 1
        return tuple(f"{_plain(text)}={text}" for text in told) if several else ()

    def _items(self) -> list[QTreeWidgetItem]:
        return [
            child
            for row in range(self.list.topLevelItemCount())
            for child in _children(self.list.topLevelItem(row))
        ]

    def _ticked(self, item: QTreeWidgetItem, _: int = 0) -> None:
        if _is_on(item):
            self.list.blockSignals(True)
            for row in range(self.list.topLevelItemCount()):
                beside = _children(self.list.topLevelItem(row))
                same = [one for one in beside if one.text(1) == item.text(1)]
                others = [one for one in beside if _is_on(one) and one is not item]
                alike = self.together.isChecked() or not others
                if item not in beside and len(same) == 1 and alike:
                    same[0].setCheckState(0, ON)
            self.list.blockSignals(False)
        self.changed.emit()


class StructureChoice(QGroupBox):
    """Which class each structure of the DICOM files becomes.

    Signals
    -------
    changed()
        Another class is chosen.
    """

    changed = Signal()

    def __init__(self, scheme: LabelScheme) -> None:
        super().__init__("Structures in the files: which class is which")
        self._scheme = scheme
        inner = QWidget()
        self._form = QFormLayout(inner)
        self._form.setContentsMargins(6, 6, 6, 6)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setWidget(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._area)
        self.boxes: dict[str, QComboBox] = {}
        self.hide()

    def show_structures(self, found: Mapping[str, int | None]) -> None:
        """Offer a class for each; those with the name of one have it."""
        if list(found) == list(self.boxes):
            return
        while self._form.rowCount():
            self._form.removeRow(0)
        self.boxes = {}
        for name, value in found.items():
            box = QComboBox()
            box.addItem("leave out", None)
            for item in self._scheme:
                box.addItem(item.name, item.value)
            box.setCurrentIndex(max(0, box.findData(value)))
            box.currentIndexChanged.connect(lambda _: self.changed.emit())
            self.boxes[name] = box
            self._form.addRow(name, box)
        self._area.setFixedHeight(STRUCTURE * min(MOST_STRUCTURES, len(found)) + 12)
        self.setVisible(bool(found))

    def value(self) -> dict[str, int]:
        """Label value by the structure's name."""
        chosen = {name: box.currentData() for name, box in self.boxes.items()}
        return {name: int(value) for name, value in chosen.items() if value is not None}


def _short(image: Path) -> str:
    """Name of an image; a slice of a DICOM series means little without its folder."""
    slice_ = image.suffix.casefold() in ("", ".dcm", ".ima")
    return f"{image.parent.name}/{image.name}" if slice_ else image.name


def _children(parent: QTreeWidgetItem) -> list[QTreeWidgetItem]:
    return [parent.child(row) for row in range(parent.childCount())]


def _is_on(item: QTreeWidgetItem) -> bool:
    return bool(item.checkState(0) == ON)


def _plain(text: str) -> str:
    """A description as a name."""
    return " ".join(text.replace("=", " ").split())


def _called(series: Series) -> str:
    return series.uid or series.number or series.description


def row_of(stretched: QWidget, *others: QWidget) -> QWidget:
    """Widgets side by side, the first with the room that is left."""
    holder = QWidget()
    layout = QHBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(stretched, 1)
    for other in others:
        layout.addWidget(other)
    return holder
