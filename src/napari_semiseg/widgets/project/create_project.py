"""Ask for folder, name, classes and images of a new project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHeaderView,
    QLineEdit,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_semiseg.core.labels import LabelScheme, free_colour
from napari_semiseg.core.text import as_sentence, listed
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.io.label_tables import KINDS, read_label_table
from napari_semiseg.widgets.elements.forms import (
    dialog_buttons,
    push_button,
    row_of,
    stack,
    wrapped_label,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE_HEIGHT = 130
SWATCH_SIZE = 14
_VALUE, _NAME, _COLOUR = range(3)


class ClassTable(QWidget):
    """Edits the classes of a project: voxel value, name and colour.

    ``value()`` returns the `LabelScheme`, or raises `ConfigError`.

    Signals
    -------
    refused(str)
        Why a table of another program could not be read.
    """

    refused = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table = QTableWidget(0, 3)
        self._table.setHorizontalHeaderLabels(["Value", "Name", "Colour"])
        self._table.setAccessibleName("Structures")
        self._table.verticalHeader().hide()
        self._table.setFixedHeight(TABLE_HEIGHT)
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        header = self._table.horizontalHeader()
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        for column, width in ((_VALUE, 64), (_COLOUR, 110)):
            self._table.setColumnWidth(column, width)
        self._table.cellDoubleClicked.connect(self._pick_colour)
        self._table.setToolTip(
            "Voxel value in the mask files, name and colour of each structure.\n"
            "Double-click a colour to change it. 0 is background."
        )
        add = push_button("Add structure", lambda: self.add_class())
        remove = push_button("Remove structure", self._remove)
        table = push_button("From a table…", self._choose_table)
        table.setToolTip(f"Read the structures from a file: {KINDS}")
        stack(self, self._table, row_of(add, remove, table, None), margin=0)
        self.add_class()

    def add_class(self, name: str = "") -> None:
        """Append a class with the next free value and colour, and edit its name."""
        row = self._table.rowCount()
        texts = [self._table.item(index, _VALUE).text() for index in range(row)]
        value = max([0, *(int(text) for text in texts if text.isdecimal())]) + 1
        self._table.insertRow(row)
        self._table.setItem(row, _VALUE, QTableWidgetItem(str(value)))
        self._table.setItem(row, _NAME, QTableWidgetItem(name))
        item = QTableWidgetItem()
        item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
        self._table.setItem(row, _COLOUR, item)
        self._set_colour(row, free_colour(value))
        self._table.setCurrentCell(row, _NAME)
        if self.isVisible():
            self._table.editItem(self._table.item(row, _NAME))

    def value(self) -> LabelScheme:
        """Return the classes; `ConfigError` for what is missing or repeated."""
        texts = []
        for row in range(self._table.rowCount()):
            number, name, colour = (
                self._table.item(row, column).text().strip() for column in range(3)
            )
            if not name:
                raise ConfigError(
                    f"structure {number} has no name: type one, or remove it"
                )
            texts.append(f"{number}={name} {colour}")
        return LabelScheme.parse(texts)

    def setValue(self, labels: LabelScheme) -> None:
        """Show these classes."""
        self._table.setRowCount(0)
        for row, item in enumerate(labels):
            self.add_class(item.name)
            self._table.item(row, _VALUE).setText(str(item.value))
            self._set_colour(row, item.colour)

    def _choose_table(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Table of structures")
        if chosen:
            try:
                self.setValue(read_label_table(Path(chosen)))
            except ConfigError as error:
                self.refused.emit(str(error))

    def _set_colour(self, row: int, colour: str) -> None:
        item = self._table.item(row, _COLOUR)
        pixmap = QPixmap(SWATCH_SIZE, SWATCH_SIZE)
        pixmap.fill(QColor(colour))
        item.setText(colour)
        item.setIcon(QIcon(pixmap))

    def _pick_colour(self, row: int, column: int) -> None:
        if column == _COLOUR:
            old = QColor(self._table.item(row, _COLOUR).text())
            chosen = QColorDialog.getColor(old, self, "Colour of the structure")
            if chosen.isValid():
                self._set_colour(row, chosen.name().upper())

    def _remove(self) -> None:
        if self._table.rowCount() > 1:
            self._table.removeRow(self._table.currentRow())


class CreateProjectDialog(QDialog):
    """Asks for folder, name and classes of a new project, and images to add."""

    def __init__(
        self, parent: QWidget | None = None, images: Sequence[Path] = ()
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("New project")
        self.setMinimumWidth(460)
        self.images = list(images)
        self.name = QLineEdit()
        self.name.setPlaceholderText("for example: atrium")
        self.where = QLineEdit(str(Path.home()))
        self.where.setAccessibleName("In folder")
        self.classes = ClassTable()
        self._images_text = wrapped_label()
        self._error = wrapped_label()
        font = self._error.font()
        font.setBold(True)
        self._error.setFont(font)
        browse = push_button("Browse…", self._browse)
        files = push_button("Files…", self._add_files)
        folder = push_button("Folder…", self._add_folder)
        form = QFormLayout()
        form.addRow("Name", self.name)
        form.addRow("In folder", row_of(self.where, browse))
        form.addRow("Structures", self.classes)
        form.addRow("Images", row_of(self._images_text, files, folder))
        note = wrapped_label(
            "The project folder holds labels, models and predictions. "
            "Your images stay where they are and are never changed."
        )
        buttons, _ = dialog_buttons(self, "Create project")
        stack(self, form, note, self._error, buttons)
        self.classes.refused.connect(self._error.setText)
        self._show_images()
        self.name.setFocus()

    @property
    def folder(self) -> Path:
        """The project folder that is asked for."""
        parent = Path(str(self.where.text())).expanduser()
        return parent / str(self.name.text()).strip()

    def problem(self) -> str | None:
        """Say what keeps the project from being created; None when all is given."""
        try:
            self._validate()
        except (ConfigError, ProjectError) as error:
            return str(error)
        return None

    def _validate(self) -> None:
        name = self.name.text().strip()
        if not name or Path(name).name != name:
            raise ProjectError("Give the project a name that can be a folder's name.")
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ProjectError(f"{self.folder} is not empty: choose another name")
        self.classes.value()

    def accept(self) -> None:
        """Close if nothing is missing, else show what is."""
        problem = self.problem()
        self._error.setText("" if problem is None else as_sentence(problem))
        if problem is None:
            super().accept()

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, "Folder that will hold the project", self.where.text()
        )
        if chosen:
            self.where.setText(chosen)

    def _add_files(self) -> None:
        chosen, _ = QFileDialog.getOpenFileNames(self, "Images to add")
        self.images += [Path(path) for path in chosen]
        self._show_images()

    def _add_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of images to add")
        if chosen:
            self.images.append(Path(chosen))
        self._show_images()

    def _show_images(self) -> None:
        names = listed([path.name for path in self.images], most=1)
        self._images_text.setText(names or "none yet, you can add them later")
