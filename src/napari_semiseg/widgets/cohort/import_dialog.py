"""Show what files would become before they are imported, and what is unclear."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QFrame,
    QGroupBox,
    QHeaderView,
    QLineEdit,
    QScrollArea,
    QTabWidget,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_semiseg.core.text import count
from napari_semiseg.errors import SemisegError
from napari_semiseg.project.importing.preview import (
    ImportPreview,
    ImportRequest,
    preview_import,
    request_import,
)
from napari_semiseg.widgets.cohort.model import SPLIT_TITLES
from napari_semiseg.widgets.common.background import ProgressReport, in_background
from napari_semiseg.widgets.elements.forms import (
    dialog_buttons,
    plain,
    plain_label,
    push_button,
    row_of,
    stack,
    wrapped_label,
)
from napari_semiseg.widgets.elements.tables import top_items

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.io.dicom.series import Series
    from napari_semiseg.project.importing.preview import Pair
    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session

LOOKING = "Looking through the files"
NO_MASK = "\u2013"
ROW, MOST_ROWS = 22, 6
"""Pixels of a row of the series, and how many are seen without scrolling."""
STRUCTURE, MOST_STRUCTURES = 30, 4
"""The same of the structures."""
ON, OFF = Qt.CheckState.Checked, Qt.CheckState.Unchecked
DATA = Qt.ItemDataRole.UserRole

Answer = tuple[ImportRequest, ImportPreview | SemisegError | OSError]


class FileList(QTreeWidget):
    """A list of columns; long paths are elided, their tool tips are whole.

    Parameters
    ----------
    columns : mapping of str to int
        Width by title, pixels; 0 stretches.
    """

    def __init__(self, columns: Mapping[str, int]) -> None:
        super().__init__()
        self.setHeaderLabels(list(columns))
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        # napari's style leaves an empty box all but invisible.
        self.setStyleSheet("QTreeView::indicator:unchecked {border: 1px solid #999}")
        header = self.header()
        header.setStretchLastSection(False)
        for column, width in enumerate(columns.values()):
            if width:
                self.setColumnWidth(column, width)
            else:
                header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)


class PairList(FileList):
    """Which mask goes with which image; what is ticked is imported.

    Signals
    -------
    changed()
        Another row is ticked.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__({"Case": 150, "Images": 230, "Mask": 180, "Remark": 0})
        self.itemChanged.connect(lambda *_: self.changed.emit())

    def show_pairs(self, preview: ImportPreview) -> None:
        """List cases with their images and masks."""
        masked = any(pair.mask is not None for pair in preview.pairs)
        with signals_blocked(self):
            self.clear()
            for pair in preview.pairs:
                remark = "; ".join(preview.notes.get(pair.case, ()))
                if pair.known:
                    remark = "in the project already"
                if pair.labelled:
                    remark = "labelled already: tick to replace it; the old one is kept"
                elif pair.mask is None and masked:
                    remark = remark or "no mask has its name"
                images = ", ".join(one.name for one in pair.channels)
                if len(pair.channels) == 1:
                    images = _name(pair.channels[0].image)
                mask = NO_MASK if pair.mask is None else pair.mask.name
                item = _checkable([pair.case, images, mask, remark], pair)
                paths = [str(one.image) for one in pair.channels]
                item.setToolTip(1, plain("\n".join(paths)))
                item.setToolTip(2, "" if pair.mask is None else plain(str(pair.mask)))
                item.setToolTip(3, plain(remark))
                item.setCheckState(0, OFF if pair.labelled else ON)
                self.addTopLevelItem(item)
        self.changed.emit()

    def chosen(self) -> list[Pair]:
        """Return the ticked cases."""
        return [item.data(0, DATA) for item in top_items(self) if _is_on(item)]


class SeriesChoice(QGroupBox):
    """DICOM series of folders that hold several, to be ticked.

    A tick also ticks the series of the same description in other folders, as long as
    nothing is ticked in these.

    Signals
    -------
    changed()
        Another series is ticked.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("Several series in one folder: tick the ones to take")
        columns = {"Series": 200, "Description": 0, "Date": 100, "Slices": 70}
        self.list = FileList(columns)
        self.list.setRootIsDecorated(True)
        self.list.itemChanged.connect(self._ticked)
        self.together = QCheckBox(
            "The ticked series of a folder lie on one grid: several images of one case"
        )
        self.together.toggled.connect(lambda _: self.changed.emit())
        stack(self, self.list, self.together, margin=6)
        self.hide()

    def show_folders(self, folders: Mapping[Path, Sequence[Series]]) -> None:
        """List the series; ticks of series that are listed already stay."""
        ticked = set(self.chosen())
        with signals_blocked(self.list):
            self.list.clear()
            for folder, found in folders.items():
                parent = QTreeWidgetItem([folder.name])
                parent.setToolTip(0, plain(str(folder)))
                parent.setFlags(Qt.ItemFlag.ItemIsEnabled)
                self.list.addTopLevelItem(parent)
                for series in found:
                    name = series.description or "no description"
                    slices = "" if series.has_frames else str(len(series.files))
                    key = series.uid or series.number or series.description
                    item = _checkable([series.number, name, series.date, slices], key)
                    item.setCheckState(0, ON if key in ticked else OFF)
                    parent.addChild(item)
            self.list.expandAll()
        rows = min(MOST_ROWS, sum(1 + len(found) for found in folders.values()))
        self.list.setFixedHeight(ROW * (rows + 1) + 14)
        self.setVisible(bool(folders))

    def chosen(self) -> tuple[str, ...]:
        """Return the ticked series, as `Project.add` takes them."""
        return tuple(str(item.data(0, DATA)) for item in self._ticked_items())

    def channels(self) -> tuple[str, ...]:
        """Return ``NAME=DESCRIPTION`` of the ticked series, if they are of one case."""
        texts = dict.fromkeys(item.text(1) for item in self._ticked_items())
        if not self.together.isChecked() or len(texts) < 2:
            return ()
        names = (" ".join(text.replace("=", " ").split()) for text in texts)
        return tuple(f"{name}={text}" for name, text in zip(names, texts, strict=True))

    def _folders(self) -> Iterator[list[QTreeWidgetItem]]:
        """Yield the series of each folder."""
        for parent in top_items(self.list):
            items = (parent.child(number) for number in range(parent.childCount()))
            yield [item for item in items if item is not None]

    def _ticked_items(self) -> list[QTreeWidgetItem]:
        return [item for items in self._folders() for item in items if _is_on(item)]

    def _ticked(self, item: QTreeWidgetItem, _: int = 0) -> None:
        if _is_on(item):
            with signals_blocked(self.list):
                for items in self._folders():
                    same = [one for one in items if one.text(1) == item.text(1)]
                    allowed = self.together.isChecked() or not any(map(_is_on, items))
                    if item not in items and len(same) == 1 and allowed:
                        same[0].setCheckState(0, ON)
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
        stack(self, self._area, margin=0)
        self.boxes: dict[str, QComboBox] = {}
        self.hide()

    def show_structures(self, found: Mapping[str, int | None]) -> None:
        """Offer a class for each structure, at first the one of its name."""
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
            self._form.addRow(plain_label(name), box)
        self._area.setFixedHeight(STRUCTURE * min(MOST_STRUCTURES, len(found)) + 12)
        self.setVisible(bool(found))

    def value(self) -> dict[str, int]:
        """Return label values by the names of the structures."""
        chosen = {name: box.currentData() for name, box in self.boxes.items()}
        return {name: int(value) for name, value in chosen.items() if value is not None}


class ImportDialog(QDialog):
    """Shows which mask goes with which image before anything is written.

    Files are looked through in the background; `import_pairs` imports what was agreed
    to.

    Parameters
    ----------
    session : Session
        With a project open.
    project : Project
        The open project.
    paths : sequence of Path
        Images to add; none to attach masks only.
    masks : Path, optional
        Where masks are.

    Attributes
    ----------
    preview : ImportPreview or None
        What was found; None while files are looked through.
    """

    def __init__(
        self,
        session: Session,
        project: Project,
        paths: Sequence[Path] = (),
        masks: Path | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Add images" if paths else "Attach masks")
        self.resize(860, 520)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        self._session, self._project = session, project
        self._adds = bool(paths)
        self._images = tuple(paths)
        self._is_first = True
        self._number = 0
        self.preview: ImportPreview | None = None
        self.pairs = PairList()
        self.left_out = FileList({"File": 260, "Why": 0})
        self.series = SeriesChoice()
        self.structures = StructureChoice(project.labels)
        self.masks = QLineEdit("" if masks is None else str(masks))
        self.masks.setPlaceholderText("none; masks can be attached later")
        self.channels = QLineEdit()
        self.channels.setPlaceholderText("one")
        self.channels.setToolTip(
            "Several images on one grid that belong to each case, by the ends of "
            "their file names:\nT1=_t1, FLAIR=_flair. Of a known data set: the names "
            "of the channels to take."
        )
        self.suggested = push_button("", self._use_suggested)
        self.suggested.hide()
        self.split = QComboBox()
        for split, title in SPLIT_TITLES.items():
            self.split.addItem(title, split)
        self.summary = wrapped_label(f"{LOOKING} …")
        self.tabs = QTabWidget()
        self.tabs.addTab(self.pairs, "Cases")
        self.tabs.addTab(self.left_out, "Left out")
        self._build()
        self._seen = self._texts()
        self.refresh()

    @property
    def request(self) -> ImportRequest:
        """What is asked for now."""
        masks = self.masks.text().strip()
        channels = (text.strip() for text in self.channels.text().split(","))
        return ImportRequest(
            self._images,
            Path(masks).expanduser() if masks else None,
            self.series.chosen(),
            tuple(text for text in channels if text) or self.series.channels(),
            self.structures.value(),
            self.split.currentData(),
        )

    @property
    def chosen(self) -> list[Pair]:
        """Cases to import."""
        return self.pairs.chosen() if self.preview is not None else []

    def refresh(self) -> None:
        """Look through the files again, as the form says."""
        self._number += 1
        number, request, is_first = self._number, self.request, self._is_first
        self.preview = None
        self.summary.setText(f"{LOOKING} …")
        self._update_button()

        def show_progress(text: str) -> None:
            if number == self._number and self.preview is None:
                self.summary.setText(text)

        progress = ProgressReport(LOOKING, show_progress)

        def work() -> Answer:
            asked = request
            try:
                if is_first and asked.masks is None:
                    own = request_import(asked.paths)
                    asked = replace(asked, paths=own.paths, masks=own.masks)
                return asked, preview_import(self._project, asked, progress)
            except (SemisegError, OSError) as error:
                return asked, error

        def done(answer: Answer) -> None:
            if number == self._number:
                self._is_first = False
                self._show(*answer)

        in_background(
            self._session,
            LOOKING,
            work,
            done,
            quiet=True,
            progress=progress,
            owner=self,
        )

    def done(self, result: int) -> None:
        """Close; an answer that comes later is not shown."""
        self._number += 1
        super().done(result)

    def _build(self) -> None:
        form = QFormLayout()
        choose = push_button("Choose…", self._choose_masks)
        none = push_button("None", self._clear_masks)
        form.addRow("Masks in", row_of(self.masks, choose, none))
        if self._adds:
            form.addRow("Images per case", row_of(self.channels, self.suggested))
            form.addRow("Use for", self.split)
        buttons, self.add_button = dialog_buttons(self, "Add")
        parts = (form, self.series, self.tabs, self.structures, self.summary, buttons)
        stack(self, *parts, stretched=self.tabs)
        self.masks.editingFinished.connect(self._refresh_if_changed)
        self.channels.editingFinished.connect(self._refresh_if_changed)
        self.series.changed.connect(self.refresh)
        self.pairs.changed.connect(self._update_button)
        self.structures.changed.connect(self._update_button)

    def _texts(self) -> tuple[str, str]:
        return self.masks.text(), self.channels.text()

    def _refresh_if_changed(self) -> None:
        if self._texts() != self._seen:
            self._seen = self._texts()
            self.refresh()

    def _choose_masks(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of masks")
        if chosen:
            self.masks.setText(chosen)
            self._refresh_if_changed()

    def _clear_masks(self) -> None:
        self.masks.clear()
        self._refresh_if_changed()

    def _use_suggested(self) -> None:
        self.channels.setText(", ".join(self.preview.endings if self.preview else ()))
        self._refresh_if_changed()

    def _show(
        self, request: ImportRequest, found: ImportPreview | SemisegError | OSError
    ) -> None:
        self._images = request.paths
        self.masks.setText("" if request.masks is None else str(request.masks))
        self._seen = self._texts()
        if isinstance(found, ImportPreview):
            self.preview = found
            self.series.show_folders(found.folders)
            self.summary.setText(self._summarise(found))
        else:  # the choice of series that is wrong stays there to be corrected
            self.preview = ImportPreview()
            self.summary.setText(str(found))
        self.structures.show_structures(self.preview.structures)
        self.left_out.clear()
        for path, reason in self.preview.left.items():
            item = QTreeWidgetItem([Path(path).name, reason])
            item.setToolTip(0, plain(path))
            item.setToolTip(1, plain(reason))
            self.left_out.addTopLevelItem(item)
        self.tabs.setTabText(1, f"Left out ({len(self.preview.left)})")
        self.suggested.setVisible(bool(self.preview.endings))
        self.suggested.setText(f"Use {', '.join(self.preview.endings)}")
        self.pairs.show_pairs(self.preview)

    def _summarise(self, found: ImportPreview) -> str:
        parts = [f"{kind} data set" for kind in found.kinds]
        new, masked = _count(found.pairs)
        if self._adds:
            parts.append(f"{count(new, 'new case')}")
        parts.append(f"{count(masked, 'mask')} paired by name")
        if found.endings:
            parts.append(f"names look like {len(found.endings)} images per case")
        if found.left:
            parts.append(f"{count(len(found.left), 'file')} left out")
        return ", ".join(parts) + "."

    def _update_button(self) -> None:
        new, masked = _count(self.chosen)
        self.tabs.setTabText(0, f"Cases ({self.pairs.topLevelItemCount()})")
        if new:
            text = f"Add {count(new, 'case')}"
            text += f", {masked} with masks" if masked else ""
        else:
            text = f"Attach {count(masked, 'mask')}" if masked else "Add"
        self.add_button.setText(text)
        self.add_button.setEnabled(bool(self.chosen))


def _count(pairs: Sequence[Pair]) -> tuple[int, int]:
    """Count new cases and masks."""
    new = sum(not pair.known for pair in pairs)
    return new, sum(pair.mask is not None for pair in pairs)


def _checkable(texts: list[str], data: object) -> QTreeWidgetItem:
    item = QTreeWidgetItem(texts)
    item.setData(0, DATA, data)
    item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
    return item


def _is_on(item: QTreeWidgetItem) -> bool:
    return bool(item.checkState(0) == ON)


def _name(image: Path) -> str:
    """Return the name of an image, of a DICOM slice with its folder."""
    is_slice = image.suffix.casefold() in ("", ".dcm", ".ima")
    return f"{image.parent.name}/{image.name}" if is_slice else image.name
