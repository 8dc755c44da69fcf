"""List all cases with their states, and change them: the Cohort tab."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSortFilterProxyModel, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QFileDialog,
    QLineEdit,
    QMenu,
    QWidget,
)

from napari_semiseg.core.case import CaseState
from napari_semiseg.core.text import count
from napari_semiseg.project.importing.preview import import_pairs
from napari_semiseg.widgets.cohort.import_dialog import ImportDialog
from napari_semiseg.widgets.cohort.model import (
    COLUMNS,
    FILTER_ROLE,
    SORT_ROLE,
    SPLIT_COLUMN,
    SPLIT_TITLES,
    CohortModel,
)
from napari_semiseg.widgets.common.background import (
    Progress,
    in_background,
    show_errors,
    warn,
)
from napari_semiseg.widgets.common.flagging import ask_flag
from napari_semiseg.widgets.common.session import HUMAN
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    push_button,
    row_of,
    stack,
    wrapped_label,
)
from napari_semiseg.widgets.elements.tables import RowTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qtpy.QtCore import QModelIndex, QPoint
    from qtpy.QtGui import QResizeEvent

    from napari_semiseg.core.case import Split
    from napari_semiseg.project.discovery.add_images import AddReport
    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.common.session import Session


HEADER_ROOM, ARROW_ROOM, NAME_WIDTH = 12, 14, 96
"""Pixels around a title, of the sorting arrow, and of the narrowest name column."""
ROW_HEIGHT, MEASURED_ROWS = 24, 50
"""Pixels, and how many visible rows decide how wide a column is."""


class CaseTable(RowTable):
    """The cases, sorted and filtered."""

    def __init__(self, model: CohortModel) -> None:
        super().__init__(ROW_HEIGHT)
        self._model = model
        self.proxy = QSortFilterProxyModel(self)
        self.proxy.setSourceModel(model)
        self.proxy.setSortRole(SORT_ROLE)
        self.proxy.setFilterKeyColumn(-1)
        self.proxy.setFilterRole(FILTER_ROLE)
        self.proxy.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setModel(self.proxy)
        self.setSortingEnabled(True)
        self.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.setWordWrap(False)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(36)
        header.setResizeContentsPrecision(MEASURED_ROWS)
        header.sortIndicatorChanged.connect(self.fit_columns)
        model.modelReset.connect(self.fit_columns)
        model.dataChanged.connect(self.fit_columns)

    def selected(self) -> list[str]:
        """Return the ids of the selected cases."""
        rows = self.selectionModel().selectedRows()
        return [str(index.data()) for index in rows]

    def select(self, case_id: str) -> None:
        """Select and show a case."""
        for row in range(self.proxy.rowCount()):
            if self.proxy.index(row, 0).data() == case_id:
                self.selectRow(row)

    def after(self, case_id: str | None) -> str | None:
        """Return the id of the row below that of a case, as sorted and filtered."""
        ids = [self.proxy.index(row, 0).data() for row in range(self.proxy.rowCount())]
        below = ids[ids.index(case_id) + 1 :] if case_id in ids else []
        return str(below[0]) if below else None

    def fit_columns(self, *_: object) -> None:
        """Give the numbers the width they need and the name the rest.

        Splits are shown where there are several.
        """
        self.setColumnHidden(SPLIT_COLUMN, not self._model.has_splits)
        columns = range(1, self.proxy.columnCount())
        letters, header = self.fontMetrics(), self.horizontalHeader()
        for column in columns:
            title = letters.horizontalAdvance(COLUMNS[column][0]) + HEADER_ROOM
            if column == header.sortIndicatorSection():
                title += ARROW_ROOM
            self.setColumnWidth(column, max(self.sizeHintForColumn(column) + 4, title))
        rest = self.viewport().width() - sum(map(self.columnWidth, columns))
        self.setColumnWidth(0, max(NAME_WIDTH, rest))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the columns to the new width."""
        super().resizeEvent(event)
        self.fit_columns()


class CohortPanel(QWidget):
    """Table, filter, and what can be done to cases."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.model = CohortModel(session, self)
        self.table = CaseTable(self.model)
        self.table.opened.connect(self._open)
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("Filter by name, state, split or flag (Ctrl+F)")
        self.filter.setClearButtonEnabled(True)
        self.filter.setToolTip("Show only the cases in which these words occur")
        self.filter.returnPressed.connect(self._open_first)
        find = QShortcut(QKeySequence(QKeySequence.StandardKey.Find), self)
        find.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        find.activated.connect(self.filter.setFocus)
        self.filter.textChanged.connect(self.table.proxy.setFilterFixedString)
        self.summary = wrapped_label()
        add = push_button(
            "Add images",
            tip="Scans to label or to learn from; they stay where they are",
        )
        menu = QMenu(add)
        menu.addAction("Image files…", self.ask_files)
        menu.addAction("Folder of images, or a DICOM series…", self._ask_folder)
        add.setMenu(menu)
        masks = push_button(
            "Attach masks…",
            self._ask_masks,
            "Take masks from a folder, by the same file names as images",
        )
        self.open_button = push_button(
            "Open",
            lambda: self.table.open_row(self.table.currentIndex()),
            "Enter or a double click on a row does it too",
        )
        buttons = row_of(add, masks, None, self.open_button)
        parts = (buttons, self.filter, self.table, self.summary)
        stack(self, *parts, stretched=self.table, margin=6)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._menu)
        self.table.selectionModel().selectionChanged.connect(self._selection_changed)
        self.model.modelReset.connect(self._summarise)
        self.model.dataChanged.connect(self._summarise)
        Connections(self).add(self._case_opened, session.case_opened)
        self._summarise()

    # -- actions

    def add_images(self, paths: Iterable[Path]) -> None:
        """Add image files or folders to the project, in the background."""
        project, images = self._session.project, list(paths)
        if project is None or not images:
            return
        progress = Progress("Adding images", self._session.say)
        work = partial(project.add, *images, progress=progress)
        in_background(
            self._session, "Adding images", work, self._added, progress=progress
        )

    def ask_import(self, paths: Sequence[Path], masks: Path | None = None) -> None:
        """Show what images and masks would become, and import what is agreed to."""
        project = self._session.project
        if project is None or not (paths or masks):
            return
        dialog = ImportDialog(self._session, project, paths, masks, self)

        def agreed() -> None:
            title = "Adding images" if paths else "Attaching masks"
            progress = Progress(title, self._session.say)
            asked = dialog.request, dialog.chosen, progress
            work = partial(import_pairs, project, *asked)
            in_background(self._session, title, work, self._imported, progress=progress)

        dialog.accepted.connect(agreed)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def set_excluded(self, ids: Sequence[str], excluded: bool) -> None:
        """Leave cases out of training and prediction, or take them in again."""
        self._change(ids, lambda project, key: project.set_excluded(key, excluded))

    def set_split(self, ids: Sequence[str], split: Split) -> None:
        """Set what cases may be used for."""
        self._change(ids, lambda project, key: project.set_split(key, split))

    def _change(
        self, ids: Sequence[str], change: Callable[[Project, str], object]
    ) -> None:
        project = self._session.project
        if project is not None:
            with show_errors(self._session):
                for key in ids:
                    change(project, key)
            self._session.cases_changed.emit(set(ids))

    def flag(self, ids: Sequence[str]) -> None:
        """Ask why cases need a second look, or take their flags away."""
        project = self._session.project
        if project is not None:
            with show_errors(self._session):
                if ask_flag(self, project, ids):
                    self._session.cases_changed.emit(set(ids))

    # -- private

    def _open(self, index: QModelIndex) -> None:
        case_id = str(index.siblingAtColumn(0).data())
        self._session.case_requested.emit(case_id)

    def _open_first(self) -> None:
        """Open the first case that passes the filter."""
        self.table.open_row(self.table.proxy.index(0, 0))

    def ask_files(self) -> None:
        """Let the user choose image files to add."""
        chosen, _ = QFileDialog.getOpenFileNames(self, "Images to add")
        self.ask_import([Path(path) for path in chosen])

    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of images to add")
        if chosen:
            self.ask_import([Path(chosen)])

    def _ask_masks(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of masks")
        if chosen:
            self.ask_import((), Path(chosen))

    def _added(self, report: AddReport) -> None:
        self._session.cases_changed.emit(None)
        if report.skipped:
            name, reason = next(iter(report.skipped.items()))
            left = len(report.skipped) - 1
            text = f"Added {count(len(report.added), 'image')}. "
            text += f"Skipped {Path(name).name}{f' and {left} more' if left else ''}"
            warn(self._session, f"{text}: {reason}")

    def _imported(self, answer: tuple[AddReport, int]) -> None:
        report, labelled = answer
        self._session.cases_changed.emit(None)
        done = f"Added {count(len(report.added), 'case')}" if report.added else ""
        masks = f"attached {count(labelled, 'mask')}" if labelled else ""
        text = ", ".join(filter(None, (done, masks))) or "Nothing was added"
        told = [note for notes in report.notes.values() for note in notes]
        self._session.say(". ".join([f"{text[0].upper()}{text[1:]}", *told]) + ".")

    def _menu(self, where: QPoint) -> None:
        ids = self.table.selected()
        if ids:
            self.menu_for(ids).exec(self.table.viewport().mapToGlobal(where))

    def menu_for(self, ids: Sequence[str]) -> QMenu:
        """Make the context menu of some cases."""
        menu = QMenu(self)
        menu.addAction("Open", lambda: self._session.case_requested.emit(ids[0]))
        menu.addSeparator()
        chosen = {case.id: case for case in self._session.cases() if case.id in ids}
        if any(case.state is not CaseState.EXCLUDED for case in chosen.values()):
            menu.addAction("Exclude", lambda: self.set_excluded(ids, True))
        if any(case.state is CaseState.EXCLUDED for case in chosen.values()):
            menu.addAction("Include again", lambda: self.set_excluded(ids, False))
        menu.addAction("Flag for a second look\u2026", lambda: self.flag(ids))
        splits = menu.addMenu("Use for")
        for split, title in SPLIT_TITLES.items():
            action = splits.addAction(title)
            action.triggered.connect(lambda *_, split=split: self.set_split(ids, split))
            action.setCheckable(True)
            action.setChecked(all(case.split is split for case in chosen.values()))
        return menu

    def _selection_changed(self, *_: object) -> None:
        self.open_button.setEnabled(bool(self.table.selected()))

    def _summarise(self, *_: object) -> None:
        rows = self.model.rows
        doubted = Counter(row.acceptance for row in rows if row.doubted)
        human = sum(row.state in HUMAN for row in rows) - doubted.total()
        text = f"{count(len(rows), 'case')}, {human} labelled"
        for acceptance, number in doubted.items():
            text += f", {number} accepted {acceptance}"
        if not rows:
            text = "No images yet."
        self.summary.setText(text)
        self._selection_changed()

    def _case_opened(self, case_id: str | None) -> None:
        if case_id is not None:
            self.table.select(case_id)
