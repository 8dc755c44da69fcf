"""Offer to begin: drop scans, open a project, or try the sample cohort."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtWidgets import (
    QFrame,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_semiseg.widgets.elements.buttons import KeyButton
from napari_semiseg.widgets.elements.forms import (
    ElidedLabel,
    plain,
    plain_label,
    row_of,
    stack,
    wrapped_label,
)
from napari_semiseg.widgets.elements.style import LINK, colours_of, icon, look, readable
from napari_semiseg.widgets.project.recents import (
    Recent,
    day,
    recent_projects,
    short_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BAR, PICTURE, BIG = 76, 52, 32


class StartPage(QWidget):
    """Creates a project, opens one, or makes the sample cohort.

    Signals
    -------
    create_requested(), open_requested(), sample_requested()
        A new project, any that there is, or the sample.
    recent_requested(Recent)
        A project that was open before; it may be gone.
    """

    create_requested = Signal()
    open_requested = Signal()
    sample_requested = Signal()
    recent_requested = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._pictures: list[tuple[QLabel, str, str]] = []
        self.cards: list[RecentCard] = []
        self.head = look(wrapped_label("Label a few scans."), "headline")
        second = look(wrapped_label("The rest is proposed to you."), "subheadline")
        self._recent = QWidget()
        self._list = QVBoxLayout(self._recent)
        self._list.setContentsMargins(0, 0, 0, 0)
        self._list.setSpacing(6)
        sample = self._sample()
        note = look(wrapped_label("For research. Not a medical device."), "secondary")
        research = row_of(self._picture("information_outline", "secondary", 16), note)
        research.setStretch(0, 0)
        research.setStretch(1, 1)
        heading = look(plain_label("No scans at hand?"), "heading")
        parts = (self._drop_zone(), self._recent, heading, sample, research, None)
        column = stack(self, self.head, second, *parts, margin=0)
        column.setContentsMargins(0, 10, 0, 4)
        column.setSpacing(10)
        column.insertSpacing(1, -8)
        for label in (self.head, second, heading, *sample.findChildren(QLabel)):
            label.setIndent(0)  # in line with the cards
        self.refresh()
        self._paint()

    def _drop_zone(self) -> QFrame:
        self.zone = look(QFrame(), "drop")
        self.zone.setAccessibleName("Drop a folder of scans here")
        self.new_button = KeyButton(
            "New project\u2026", "", "plus", "primary", self.create_requested.emit
        )
        self.new_button.setToolTip("A new folder for labels and models of your scans")
        self.open_button = KeyButton(
            "Open\u2026", "", "folder_open_outline", run=self.open_requested.emit
        )
        self.open_button.setToolTip("A project: a folder that holds project.toml")
        for button in (self.new_button, self.open_button):
            button.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        picture = self._picture("folder_upload_outline", "link", BIG)
        title = look(wrapped_label("Drop a folder of scans here"), "title")
        kinds = look(
            wrapped_label("NIfTI, DICOM, NRRD, MetaImage; masks too"), "secondary"
        )
        kept = "Images stay where they are. Nothing is copied or sent."
        note = look(wrapped_label(kept), "secondary")
        for label in (picture, title, kinds, note):
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        buttons = row_of(None, self.new_button, self.open_button, None)
        column = stack(self.zone, picture, title, kinds, buttons, note)
        column.setContentsMargins(12, 12, 12, 10)
        column.setSpacing(8)
        return self.zone

    def _sample(self) -> QFrame:
        card = look(QFrame(), "card")
        picture = look(self._picture("brain", "#f0a830", BIG), "picture")
        picture.setFixedSize(PICTURE, PICTURE)
        picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.sample_button = KeyButton(
            "Try it", "", "flask_outline", run=self.sample_requested.emit
        )
        self.sample_button.setToolTip(
            "12 virtual patients made from one public brain MR, no download"
        )
        self.sample_button.setAccessibleName("Try the sample cohort")
        self.sample_button.setMaximumWidth(120)
        about = "12 virtual patients, 3 labelled. The whole loop, no download."
        words = look(QWidget(), "clear")
        title, text = plain_label("Sample cohort"), wrapped_label(about)
        parts = (look(title, "title"), look(text, "secondary"), self.sample_button)
        stack(words, *parts, margin=0).setSpacing(6)
        row = row_of(picture, words)
        row.setAlignment(picture, Qt.AlignmentFlag.AlignTop)
        row.setStretch(0, 0)
        row.setStretch(1, 1)
        row.setSpacing(10)
        row.setContentsMargins(10, 10, 10, 10)
        card.setLayout(row)
        return card

    def _picture(self, name: str, colour: str, size: int) -> QLabel:
        label = plain_label()
        label.setFixedHeight(size)
        self._pictures.append((label, name, colour))
        return label

    def refresh(self) -> None:
        """Read the recent projects again."""
        while self._list.count():
            old = self._list.takeAt(0).widget()
            old.hide()
            old.deleteLater()
        found = recent_projects()
        self.cards = [RecentCard(one, self.recent_requested.emit) for one in found]
        if found:
            heading = look(plain_label("Recent"), "heading")
            heading.setIndent(0)
            self._list.addWidget(heading)
        for card in self.cards:
            self._list.addWidget(card)
        self._recent.setVisible(bool(found))

    def show_drop(self, over: bool) -> None:
        """Show that what is dragged over the panel may be dropped."""
        look(self.zone, "drop_over" if over else "drop")

    def changeEvent(self, event: QEvent) -> None:
        """Take the colours of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._paint()

    def _paint(self) -> None:
        found = colours_of(self)
        found["link"] = readable(LINK, found["card"])
        for label, name, colour in self._pictures:
            size = label.minimumHeight()
            picture = icon(name, found.get(colour, colour))
            side = min(size, BIG)
            label.setPixmap(picture.pixmap(QSize(side, side)))
        for card in self.cards:
            card.paint_icon()


class RecentCard(QPushButton):
    """A project that was open before: name, place, how much is labelled, and when.

    One that is gone is grey, and asks where it is now.
    """

    def __init__(self, recent: Recent, run: Callable[[Recent], object]) -> None:
        super().__init__()
        self.recent, self.exists = recent, recent.exists
        look(self, "project")
        self.clicked.connect(lambda *_: run(recent))
        self.setMinimumWidth(40)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        done = f"{recent.labelled} of {recent.cases} labelled"
        gone = "" if self.exists else "The folder is gone: find it. "
        self.setToolTip(plain(f"{gone}{recent.folder}"))
        self.setAccessibleName(f"{recent.name}, {done}, {day(recent.at)}. {gone}")
        self._icon = plain_label()
        name = ElidedLabel("title" if self.exists else "secondary")
        name.setText(recent.name)
        where = ElidedLabel("secondary")
        where.setText(short_path(recent.folder))
        state = look(plain_label(done if self.exists else "Find\u2026"), "small")
        state.setAlignment(Qt.AlignmentFlag.AlignRight)
        bar = look(QProgressBar(), "bar")
        bar.setRange(0, max(recent.cases, 1))
        bar.setValue(recent.labelled)
        bar.setTextVisible(False)
        bar.setFixedHeight(4)
        bar.setFixedWidth(BAR)
        bar.setVisible(self.exists)
        when = look(plain_label(day(recent.at)), "secondary")
        when.setAlignment(Qt.AlignmentFlag.AlignRight)
        words, aside = look(QWidget(), "clear"), look(QWidget(), "clear")
        stack(words, name, where, margin=0).setSpacing(2)
        column = stack(aside, state, bar, when, margin=0)
        column.setSpacing(3)
        column.setAlignment(bar, Qt.AlignmentFlag.AlignRight)
        row = row_of(self._icon, words, aside)
        row.setStretch(0, 0)
        row.setStretch(1, 1)
        row.setContentsMargins(10, 4, 10, 4)
        row.setSpacing(10)
        self.setLayout(row)
        for part in self.findChildren(QWidget):
            part.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.paint_icon()

    def paint_icon(self) -> None:
        """Draw the folder in the colours of the theme."""
        colour = colours_of(self)["text" if self.exists else "disabled"]
        picture = icon("folder_open_outline", colour)
        self._icon.setPixmap(picture.pixmap(QSize(18, 18)))
