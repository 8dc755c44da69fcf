"""Before a project is open: the start page, and the dialog that creates one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_semiseg.core.labels import LabelScheme, free_colour
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.widgets.common.preferences import recent_projects

if TYPE_CHECKING:
    from collections.abc import Sequence

TABLE_HEIGHT = 130
_VALUE, _NAME, _COLOUR = range(3)


def swatch(colour: str, size: int = 14) -> QIcon:
    """A filled square of one colour."""
    pixmap = QPixmap(size, size)
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)


class ClassTable(QWidget):
    """Edits the classes of a project: voxel value, name and colour.

    ``value()`` gives the `LabelScheme`, or raises `ConfigError`.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table = QTableWidget(0, 3)
        self._table.setHorizontalHeaderLabels(["Value", "Name", "Colour"])
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
        add, remove = QPushButton("Add class"), QPushButton("Remove class")
        add.clicked.connect(lambda: self.add_class())
        remove.clicked.connect(self._remove)
        buttons = QHBoxLayout()
        buttons.addWidget(add)
        buttons.addWidget(remove)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        layout.addLayout(buttons)
        self.add_class()

    def add_class(self, name: str = "") -> None:
        """Append a class with the next free value and colour, and edit its name."""
        row = self._table.rowCount()
        values = [self._number(index) for index in range(row)]
        value = max([0, *(value for value in values if value is not None)]) + 1
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
        """Classes as a scheme; `ConfigError` for what is missing or repeated."""
        texts = []
        for row in range(self._table.rowCount()):
            number, name, colour = (
                self._table.item(row, column).text().strip() for column in range(3)
            )
            if not name:
                raise ConfigError(f"class {number} has no name: type one, or remove it")
            texts.append(f"{number}={name} {colour}")
        return LabelScheme.parse(texts)

    def setValue(self, labels: LabelScheme) -> None:
        """Show these classes."""
        self._table.setRowCount(0)
        for row, item in enumerate(labels):
            self.add_class(item.name)
            self._table.item(row, _VALUE).setText(str(item.value))
            self._set_colour(row, item.colour)

    def _number(self, row: int) -> int | None:
        text = self._table.item(row, _VALUE).text()
        return int(text) if text.isdigit() else None

    def _set_colour(self, row: int, colour: str) -> None:
        item = self._table.item(row, _COLOUR)
        item.setText(colour)
        item.setIcon(swatch(colour))

    def _pick_colour(self, row: int, column: int) -> None:
        if column == _COLOUR:
            old = QColor(self._table.item(row, _COLOUR).text())
            chosen = QColorDialog.getColor(old, self, "Colour of the class")
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
        self.setWindowTitle("Create a project")
        self.setMinimumWidth(460)
        self.images = list(images)
        self.name = QLineEdit()
        self.name.setPlaceholderText("for example: atrium")
        self.where = QLineEdit(str(Path.home()))
        self.classes = ClassTable()
        self._images_text = QLabel()
        self._images_text.setWordWrap(True)
        self._error = QLabel()
        self._error.setWordWrap(True)
        font = self._error.font()
        font.setBold(True)
        self._error.setFont(font)
        browse = QPushButton("Browse…")
        browse.clicked.connect(self._browse)
        files, folder = QPushButton("Files…"), QPushButton("Folder…")
        files.clicked.connect(self._add_files)
        folder.clicked.connect(self._add_folder)
        form = QFormLayout()
        form.addRow("Name", self.name)
        form.addRow("In folder", _row(self.where, browse))
        form.addRow("Structures", self.classes)
        form.addRow("Images", _row(self._images_text, files, folder))
        buttons = QDialogButtonBox()
        create = buttons.addButton(
            "Create project", QDialogButtonBox.ButtonRole.AcceptRole
        )
        buttons.addButton("Cancel", QDialogButtonBox.ButtonRole.RejectRole)
        create.setDefault(True)
        buttons.accepted.connect(self._check)
        buttons.rejected.connect(self.reject)
        note = QLabel(
            "The project folder holds labels, models and predictions. "
            "Your images stay where they are and are never changed."
        )
        note.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(note)
        layout.addWidget(self._error)
        layout.addWidget(buttons)
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

    def _check(self) -> None:
        problem = self.problem()
        self._error.setText("" if problem is None else problem[0].upper() + problem[1:])
        if problem is None:
            self.accept()

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
        if not self.images:
            self._images_text.setText("none yet, you can add them later")
        elif len(self.images) == 1:
            self._images_text.setText(self.images[0].name)
        else:
            self._images_text.setText(
                f"{self.images[0].name} and {len(self.images) - 1} more"
            )


class StartPage(QWidget):
    """What the dock shows while no project is open."""

    create_asked = Signal()
    open_asked = Signal(object)
    sample_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        about = QLabel(
            "Label a few scans, train, and correct what the model proposes for others."
        )
        about.setWordWrap(True)
        layout.addWidget(about)
        for text, tip, slot in (
            (
                "Create project…",
                "A new folder for labels and models of your scans",
                lambda: self.create_asked.emit(),
            ),
            (
                "Open project…",
                "A folder that holds project.toml",
                lambda: self.open_asked.emit(None),
            ),
            (
                "Try the sample cohort",
                "12 virtual patients made from one public brain MR, no download",
                lambda: self.sample_asked.emit(),
            ),
        ):
            button = QPushButton(text)
            button.setToolTip(tip)
            button.setMinimumHeight(32)
            button.clicked.connect(slot)
            layout.addWidget(button)
        self._recent = QVBoxLayout()
        layout.addSpacing(12)
        layout.addLayout(self._recent)
        layout.addStretch()
        self.refresh()

    def refresh(self) -> None:
        """Read the recent projects again."""
        while self._recent.count():
            old = self._recent.takeAt(0).widget()
            old.hide()
            old.deleteLater()
        paths = recent_projects()
        if paths:
            self._recent.addWidget(QLabel("Recent projects"))
        for path in paths:
            button = QPushButton(path.name)
            button.setToolTip(str(path))
            button.clicked.connect(
                lambda _=False, folder=path: self.open_asked.emit(folder)
            )
            self._recent.addWidget(button)


def _row(stretched: QWidget, *others: QWidget) -> QWidget:
    holder = QWidget()
    layout = QHBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(stretched, 1)
    for other in others:
        other.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        layout.addWidget(other)
    return holder
