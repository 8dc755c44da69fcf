"""Make the pictures of the documents, and the recording, from the running product.

    python resources/make_pictures.py

It goes through the whole loop on the sample cohort, as a person with keyboard and mouse
would, in about five minutes, two of them training. Nothing in the pictures is drawn by
hand but the ring around the pointer. Without a display put
``xvfb-run -a -s "-screen 0 1600x1000x24"`` before it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SIZE = (1600, 900)
FILM_WIDTH, QUALITY = 1000, 55
GLANCE_MS, LOOK_MS, READ_MS = 250, 900, 1800
LAPSE = 16
"""Frames of the recording that the training takes."""
PATIENCE_S = 1200
COARSE = {"spacing_mm": (3.0, 3.0, 3.0), "width": 8, "minutes": None, "steps": 400}
RUNNING = {"preparing", "running"}


class Film:
    """Takes pictures of a window, and a frame of each step for the recording."""

    def __init__(self, window: QWidget, folder: Path) -> None:
        self.window, self.folder = window, folder
        self.frames: list[tuple[Image.Image, int]] = []

    def still(self, name: str, of: QWidget | None = None) -> None:
        """Keep a picture for the documents, and look at it in the recording."""
        wait(1500)
        image(of or self.window).quantize(256).save(
            self.folder / f"{name}.png", optimize=True
        )
        self.frame(READ_MS)

    def frame(self, ms: int = LOOK_MS, at: tuple[int, int] | None = None) -> None:
        """Add what is to be seen to the recording, with a ring around the pointer."""
        shot = image(self.window.screen().grabWindow(0)).crop((0, 0, *SIZE))
        if at is not None:
            x, y = at
            ring = (x - 16, y - 16, x + 16, y + 16)
            ImageDraw.Draw(shot).ellipse(ring, outline=(255, 196, 0), width=4)
        height = round(SIZE[1] * FILM_WIDTH / SIZE[0])
        small = shot.resize((FILM_WIDTH, height), Image.Resampling.LANCZOS)
        self.frames.append((small, ms))

    def thin(self, begin: int) -> None:
        """Keep a few of the frames since that one: minutes pass in seconds."""
        since = self.frames[begin:]
        self.frames[begin:] = since[:: max(1, len(since) // LAPSE)]

    def save(self, target: Path) -> None:
        """Write the recording."""
        first, *rest = (shot for shot, _ in self.frames)
        times = [ms for _, ms in self.frames]
        first.save(
            target,
            save_all=True,
            append_images=rest,
            duration=times,
            loop=0,
            quality=QUALITY,
            method=4,
        )


class Person:
    """Has a mouse and a keyboard, and is filmed."""

    def __init__(self, film: Film, panel: Any) -> None:
        from napari_semiseg.widgets.common.compat import canvas_widget

        self.film, self.panel = film, panel
        self.canvas = canvas_widget(panel.viewer.window._qt_viewer)

    def click(self, widget: QWidget, at: Any = None) -> None:
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        place = at or widget.rect().center()
        on_screen = widget.mapToGlobal(place)
        self.film.frame(LOOK_MS, (on_screen.x(), on_screen.y()))
        QTest.mouseClick(
            widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place
        )
        wait(400)

    def press(self, key: str, *, shift: bool = False) -> None:
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        modifier = "ShiftModifier" if shift else "NoModifier"
        code = getattr(Qt.Key, f"Key_{key}")
        QTest.keyClick(self.canvas, code, getattr(Qt.KeyboardModifier, modifier))
        wait(400)

    def tab(self, title: str) -> None:
        from napari_semiseg.widgets.dock import TABS

        bar = self.panel.tabs.tabBar()
        self.click(bar, bar.tabRect(TABS.index(title)).center())

    def paint(self, wanted: np.ndarray, *, brush: int, frames: int) -> None:
        """Paint an area (Y, X) of the axial slice shown, stroke by stroke."""
        self.panel.case_view.mask.brush_size = brush
        strokes = strokes_of(wanted, every=max(1, brush - 1))
        every = max(1, len(strokes) // max(frames, 1))
        for number, (row, first, last) in enumerate(strokes):
            self._stroke(row, first, last, filmed=number % every == 0)

    def _stroke(self, row: int, first: int, last: int, *, filmed: bool) -> None:
        from qtpy.QtCore import QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QApplication

        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        view = self.panel.case_view
        spacing = np.asarray(view.case.geometry.spacing_mm)

        def place(column: float) -> QPointF:
            voxel = np.array([view.slice_index, row, column]) * spacing
            return view.canvases.main_notes.to_canvas(voxel)

        begin, end = place(first), place(last)
        QTest.mousePress(self.canvas, left, none, begin.toPoint())
        for share in np.linspace(0, 1, 4)[1:]:
            to = begin + float(share) * (end - begin)
            on_screen = QPointF(self.canvas.mapToGlobal(to.toPoint()))
            kind = QMouseEvent.Type.MouseMove
            moved = QMouseEvent(
                kind, to, on_screen, Qt.MouseButton.NoButton, left, none
            )
            QApplication.sendEvent(self.canvas, moved)
            wait(10)
        QTest.mouseRelease(self.canvas, left, none, end.toPoint())
        if filmed:
            wait(60)
            on_screen = self.canvas.mapToGlobal(end.toPoint())
            self.film.frame(GLANCE_MS, (on_screen.x(), on_screen.y()))


def strokes_of(wanted: np.ndarray, every: int) -> list[tuple[int, int, int]]:
    """Rows of an area (Y, X) to paint: row, first and last column."""
    found = []
    for row in range(0, wanted.shape[0], every):
        pieces, count = ndimage.label(wanted[row])
        for piece in range(1, count + 1):
            columns = np.flatnonzero(pieces == piece)
            found.append((row, int(columns[0]), int(columns[-1])))
    return found


def image(shot: Any) -> Image.Image:
    """Turn a widget, or what was grabbed of one, into a picture."""
    from qtpy.QtCore import QBuffer

    picture = shot.grab() if hasattr(shot, "grab") else shot
    buffer = QBuffer()
    buffer.open(QBuffer.OpenModeFlag.ReadWrite)
    picture.save(buffer, "PNG")
    return Image.open(BytesIO(bytes(buffer.data()))).convert("RGB")


def wait(ms: int) -> None:
    from qtpy.QtTest import QTest

    QTest.qWait(ms)


def wait_for(what: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > end:
            raise SystemExit("waited in vain; the pictures before this are kept")
        wait(200)


def begin(person: Person) -> None:
    """From the start page to the sample cohort."""
    panel, film = person.panel, person.film
    film.still("start")
    person.click(panel.start_page.sample_button)
    wait_for(lambda: panel.session.project is not None)
    wait_for(lambda: panel.cohort.model.rowCount() > 0)
    person.tab("Cohort")
    film.still("cohort")


def label(person: Person, masks: Path) -> None:
    """Paint three slices of the first case without a label, and accept those."""
    from napari_semiseg.io.masks import read_labels

    panel, film = person.panel, person.film
    view = panel.case_view
    person.click(panel.guide.button)
    wait_for(lambda: view.case is not None and view.mask is not None)
    wait(2500)
    film.frame(READ_MS)
    truth = read_labels(masks / f"{view.case.id}.nii.gz", view.case.geometry) == 1
    areas = truth.sum(axis=(1, 2))
    inside = np.flatnonzero(areas)
    best = int(areas.argmax())
    person.press("1")
    for number, index in enumerate((best, best + 4, best - 4)):
        view.go_to(0, int(np.clip(index, inside[0], inside[-1])))
        wait(600)
        frames = 12 if number == 0 else 3
        person.paint(truth[view.slice_index], brush=3, frames=frames)
        if number == 0:
            film.still("label")
        person.press("D")
        film.frame()
    person.press("A", shift=True)
    wait(1000)
    film.frame(READ_MS)


def train(person: Person, *, coarse: bool) -> None:
    """Train for as long as the first steps say."""
    panel, film = person.panel, person.film
    person.click(panel.guide.button)
    wait(500)
    button = panel.training.start_button
    wait_for(button.isEnabled)
    film.frame(READ_MS)
    if coarse:
        form, as_shown = panel.training.form, panel.training.form.value
        form.value = lambda: as_shown().model_copy(update=COARSE)
    person.click(button)
    run = panel.session.project.latest_run
    wait_for(lambda: run() is not None)
    before, shown = len(film.frames), False
    while run().status in RUNNING:
        wait(3000)
        film.frame(GLANCE_MS)
        if not shown and steps_done(run()) > 0.6:
            film.still("train")
            shown = True
    wait_for(lambda: not panel.training.monitor.active)
    film.thin(before)
    film.frame(READ_MS)


def steps_done(run: Any) -> float:
    """Share of the steps of a training that are done."""
    stepped = [event for event in run.events() if event.type == "stepped"]
    return stepped[-1].step / stepped[-1].steps if stepped else 0.0


def review(person: Person, masks: Path) -> None:
    """Look at the most doubtful prediction, correct its worst slice and accept."""
    from napari_semiseg.io.masks import read_labels

    panel, film = person.panel, person.film
    view = panel.case_view
    person.click(panel.guide.button)
    wait(4000)
    film.still("review")
    person.press("W")
    while view.viewer.dims.order[0] != 0:
        person.press("Q")
    wait(1000)
    film.frame()
    case = view.case
    truth = read_labels(masks / f"{case.id}.nii.gz", case.geometry) == 1
    proposed = view.editing.whole() == 1
    wrong = (truth != proposed).sum(axis=(1, 2))
    view.go_to(0, int(wrong.argmax()))
    wait(800)
    index = view.slice_index
    for key, area in (
        ("1", truth[index] & ~proposed[index]),
        ("E", ~truth[index] & proposed[index]),
    ):
        person.press(key)
        person.paint(area, brush=1, frames=5)
    film.still("correct")
    person.press("N")
    wait(2500)
    film.frame(READ_MS)


def finish(person: Person) -> None:
    """See how well it goes, and the dialog of an export."""
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    panel, film = person.panel, person.film
    person.tab("Progress")
    film.still("progress")

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        dialog.folder.setText("delivery")
        film.still("export", dialog)
        dialog.reject()

    QTimer.singleShot(1500, look)
    panel.ask_export()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PICTURES)
    parser.add_argument(
        "--coarse",
        action="store_true",
        help="train a small network on large voxels, for a slow or busy machine",
    )
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        # neither the settings nor the sample of whoever runs this
        os.environ |= {"HOME": home, "NAPARI_CONFIG": f"{home}/napari.yaml"}
        os.environ["LOGNAME"] = "you"
        record(asked.out, Path(home), coarse=asked.coarse)


def record(out: Path, home: Path, *, coarse: bool) -> None:
    import napari
    from napari.settings import get_settings

    from napari_semiseg.commands import open_panel
    from napari_semiseg.widgets.common.preferences import choose
    from napari_semiseg.widgets.dock import SAMPLE_FOLDER

    get_settings().appearance.theme = "dark"
    choose("low_priority", False)  # nobody works at this window
    viewer = napari.Viewer(title="napari")
    window = viewer.window._qt_window
    window.setGeometry(0, 0, *SIZE)
    panel = open_panel(viewer)
    wait(3000)
    film = Film(window, out)
    person = Person(film, panel)
    masks = home / SAMPLE_FOLDER / "cohort" / "labelsTr"
    begin(person)
    label(person, masks)
    train(person, coarse=coarse)
    review(person, masks)
    finish(person)
    film.save(out / "loop.webp")
    viewer.close()


if __name__ == "__main__":
    main()
