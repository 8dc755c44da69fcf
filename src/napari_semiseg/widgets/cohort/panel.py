"""List all cases with their states, and change them: the Cohort tab."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QAction, QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QFileDialog,
    QLineEdit,
    QMenu,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from napari_semiseg.core.text import as_sentence, count
from napari_semiseg.project.importing.preview import import_pairs
from napari_semiseg.widgets.cohort.bulk import BulkBar, CaseVerbs
from napari_semiseg.widgets.cohort.filters import Filters
from napari_semiseg.widgets.cohort.import_dialog import ImportDialog
from napari_semiseg.widgets.cohort.model import CohortModel
from napari_semiseg.widgets.cohort.table import CaseTable
from napari_semiseg.widgets.common.background import ProgressReport, in_background, warn
from napari_semiseg.widgets.elements.buttons import KeyButton
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import row_of, stack, wrapped_label
from napari_semiseg.widgets.elements.style import look, set_icon

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qtpy.QtCore import QPoint
    from qtpy.QtGui import QResizeEvent

    from napari_semiseg.project.discovery.add_images import AddReport
    from napari_semiseg.widgets.common.session import Session


WIDE = 440
"""Pixels across from which *Attach masks* has a button of its own."""
NOTHING_YET = "No images yet. Add some, or drop a folder of scans here."
NO_MATCH = "No case is like that. Esc in the search shows all again."


class CohortPanel(QWidget):
    """Search, filters, table, and what can be done to cases.

    Signals
    -------
    width_requested()
        Make the panel wide, or as it was.
    """

    width_requested = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.model = CohortModel(session, self)
        self.table = CaseTable(self.model)
        self.table.opened.connect(self._open)
        self.verbs = CaseVerbs(session, self)
        self.filters = Filters()
        self.filters.chosen.connect(self._filter)
        self.note = look(wrapped_label(), "secondary")
        self.note.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.note.setSizePolicy(
            QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding
        )
        self.bar = BulkBar(self.verbs, self.table.ticked)
        parts = (self._tools(), self.filters, self.table, self.note, self.bar)
        column = stack(self, *parts, stretched=self.table)
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(8)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._menu)
        self.model.modelReset.connect(self._count)
        self.model.dataChanged.connect(self._changed)
        Connections(self).add(self._case_opened, session.case_opened)
        self._count()

    def _tools(self) -> QWidget:
        fixed = QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed
        self.add_button = KeyButton("Add images", "", "plus")
        self.add_button.setToolTip(
            "Scans to label or to learn from; they stay where they are"
        )
        menu = QMenu(self.add_button)
        menu.addAction("Image files…", self.ask_files)
        menu.addAction("Folder of images, or a DICOM series…", self._ask_folder)
        menu.addAction("Attach masks…", self._ask_masks)
        self.add_button.setMenu(menu)
        self.masks_button = KeyButton(
            "Attach masks…", "", "layers_outline", run=self._ask_masks
        )
        self.masks_button.setToolTip(
            "Take masks from a folder, by the same file names as images"
        )
        self.search = look(QLineEdit(), "search")
        self.search.setAccessibleName("Search the cases")
        self.search.setPlaceholderText("Name, comment (Ctrl+F)")
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(60)
        self.search.setToolTip(
            "Show only the cases in which these words occur; Enter opens the first"
        )
        self.search.returnPressed.connect(self._open_first)
        self.search.textChanged.connect(self._filter)
        escape = QShortcut(QKeySequence(Qt.Key.Key_Escape), self.search)
        escape.setContext(Qt.ShortcutContext.WidgetShortcut)
        escape.activated.connect(self.show_all)
        self.width_button = look(QPushButton(), "flat")
        set_icon(self.width_button, "arrow_expand_horizontal")
        if self.width_button.icon().isNull():
            self.width_button.setText("\u2194")
        self.width_button.setAccessibleName("Wide panel")
        self.width_button.setToolTip("Make room for all columns, or for the image")
        self.width_button.clicked.connect(lambda *_: self.width_requested.emit())
        for button in (self.add_button, self.masks_button):
            button.setSizePolicy(*fixed)
        tools = QWidget()
        row = row_of(self.add_button, self.masks_button)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.setStretch(0, 0)
        row.addWidget(self.search, 1)
        row.addWidget(self.width_button)
        tools.setLayout(row)
        return tools

    # -- actions

    def add_images(self, paths: Iterable[Path]) -> None:
        """Add image files or folders to the project, in the background."""
        project, images = self._session.project, list(paths)
        if project is None or not images:
            return
        progress = ProgressReport("Adding images", self._session.say)
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
            progress = ProgressReport(title, self._session.say)
            asked = dialog.request, dialog.chosen, progress
            work = partial(import_pairs, project, *asked)
            in_background(self._session, title, work, self._imported, progress=progress)

        dialog.accepted.connect(agreed)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def go_to_search(self) -> None:
        """Take the keyboard to the search."""
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    def show_all(self) -> None:
        """Show the cases of every kind and name again."""
        self.search.clear()
        self.filters.choose("")

    # -- private

    def _open(self, case_id: str) -> None:
        self._session.case_requested.emit(case_id)

    def _open_first(self) -> None:
        """Open the first case that passes the search."""
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
        text = f"Added {count(len(report.added), 'image')}."
        if report.skipped:
            name, reason = next(iter(report.skipped.items()))
            left = len(report.skipped) - 1
            text += f" Skipped {Path(name).name}{f' and {left} more' if left else ''}"
            warn(self._session, f"{text}: {reason}")
        else:
            self._session.say(text)

    def _imported(self, answer: tuple[AddReport, int]) -> None:
        report, labelled = answer
        self._session.cases_changed.emit(None)
        done = f"Added {count(len(report.added), 'case')}" if report.added else ""
        masks = f"attached {count(labelled, 'mask')}" if labelled else ""
        text = ", ".join(filter(None, (done, masks))) or "Nothing was added"
        remarks = [note for notes in report.notes.values() for note in notes]
        self._session.say(". ".join([as_sentence(text), *remarks]) + ".")

    def _menu(self, where: QPoint) -> None:
        """Act on the ticked cases where the pointer is on one, else on the selected."""
        ticked, selected = self.table.ticked(), self.table.selected()
        ids = ticked if set(selected) <= set(ticked) else selected
        if ids:
            self.menu_for(ids).exec(self.table.viewport().mapToGlobal(where))

    def menu_for(self, ids: Sequence[str]) -> QMenu:
        """Make the context menu of some cases."""
        menu = QMenu(self)
        self.verbs.fill(menu, ids)
        first = menu.actions()[0]
        opening = QAction("Open", menu)
        opening.triggered.connect(lambda *_: self._open(ids[0]))
        menu.insertAction(first, opening)
        menu.insertSeparator(first)
        return menu

    def _filter(self, _chosen: str = "") -> None:
        self.table.proxy.show_only(self.filters.kind, self.search.text())
        self._summarise()

    def _changed(self, _first: object, _last: object, roles: list[int]) -> None:
        if roles:  # of ticks
            self._summarise()
        else:
            self._count()

    def _count(self) -> None:
        self.filters.show_rows(self.model.rows)
        self._summarise()

    def _summarise(self) -> None:
        """Say how many cases there are, or are ticked, and why none is shown."""
        rows, ticked = self.model.rows, len(self.table.ticked())
        self.filters.setVisible(bool(rows))
        shown = self.table.proxy.rowCount()
        self.table.setVisible(shown > 0)
        self.note.setVisible(not shown)
        self.note.setText(NO_MATCH if rows else NOTHING_YET)
        text = f"{ticked} ticked of {len(rows)}"
        if not ticked:
            labelled = sum(row.kind == "labelled" for row in rows)
            of = f"{shown} of " if shown < len(rows) else ""
            text = f"{of}{count(len(rows), 'case')}, {labelled} labelled"
            text += " \u00b7 tick for actions"
        self.bar.show_counts(text if rows else "", ticked)

    def _case_opened(self, case_id: str | None) -> None:
        self.table.show_open(case_id)
        if case_id is not None:
            self.table.select(case_id)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the search the room of a narrow panel."""
        super().resizeEvent(event)
        QTimer.singleShot(0, self._fit)  # a layout at work ignores a resize

    def _fit(self) -> None:
        wide = self.width() >= WIDE
        self.masks_button.setVisible(wide)
        self.add_button.set_step("Add images" if wide else "Add", "")
        if (layout := self.layout()) is not None:
            layout.activate()  # else the texts are cut until the next event
