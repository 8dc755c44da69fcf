"""The window at the sizes of real screens, in both themes.

Pictures of all of them are kept in ``test-artefacts/sizes``, see `person`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from napari.settings import get_settings
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractButton, QLabel, QWidget
from superqt import QElidingLabel

from napari_semiseg.project.project import Project
from napari_semiseg.widgets.canvas.linked_canvases import CANVAS_WIDTH, WIDE
from napari_semiseg.widgets.canvas.overlays import ink
from napari_semiseg.widgets.cohort.model import FIELDS
from napari_semiseg.widgets.cohort.table import NAME_WIDTH
from napari_semiseg.widgets.dock import TABS, WIDTHS, SemisegDock
from napari_semiseg.widgets.dock import WIDE as WIDE_PANEL
from napari_semiseg.widgets.elements.style import colours
from napari_semiseg.widgets.project.recents import remember_project
from widgets.conftest import SHAPE, write_volume
from widgets.person import pictures_of
from widgets.viewing import store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytestqt.qtbot import QtBot

SIZES = ((1280, 720), (1366, 768), (1920, 1080), (2560, 1440))
SLACK = 24
"""Pixels that the frame of a dock may take."""
LEGIBLE = 4.5
"""Least contrast of text, after WCAG 2.1."""


@pytest.fixture
def crowded(tmp_path: Path) -> Project:
    """A project with long names and 20 structures, and a prediction."""
    import numpy as np

    names = {f"a structure with a rather long name, {n}": n for n in range(1, 21)}
    made = Project.create(tmp_path / ("a_long_name_of_a_project_" * 3), names)
    image = np.random.default_rng(0).normal(100, 10, SHAPE).astype(np.int16)
    case = "a_case_whose_name_is_as_long_as_names_of_series_in_an_archive_0123456789"
    made.add(write_volume(tmp_path / "images" / f"{case}.nii.gz", image))
    store_prediction(made, case)
    return made


@pytest.mark.timeout(600)
def test_no_content_widens_the_window_and_the_image_has_the_most_of_it(
    make_napari_viewer: Callable[..., Any], crowded: Project, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    dock = SemisegDock(viewer)
    viewer.window.add_dock_widget(dock, name="Semiseg", area="right")
    window = viewer.window._qt_window
    window.move(0, 0)
    dock.open_project(crowded.folder)
    dock.session.case_requested.emit(crowded.cases()[0].id)
    canvases = dock.case_view.canvases
    for theme in ("dark", "light"):
        get_settings().appearance.theme = theme
        for side in canvases.views.sides if canvases.views is not None else ():
            assert side.model.theme == theme
        for size in SIZES:
            window.resize(*size)
            qtbot.wait(300)
            assert (window.width(), window.height()) == size
            assert canvases.shown is (size[0] >= WIDE)
            canvas = canvases.main_notes.canvas
            qtbot.wait(50)
            assert canvas.width() >= CANVAS_WIDTH
            area = canvas.width() * canvas.height()
            area += sum(
                side.notes.width() * side.notes.height()
                for side in (canvases.views.sides if canvases.shown else ())
            )
            assert area >= 0.46 * window.width() * window.height()
            wanted = next(width for least, width in WIDTHS if size[0] >= least)
            assert abs(dock.width() - wanted) <= SLACK
            counts = ["Cohort 1", "Review 1"] if size[0] >= WIDE else TABS[:2]
            assert [dock.tabs.tabText(n) for n in range(2)] == list(counts)
            for index in range(dock.tabs.count()):
                dock.tabs.setCurrentIndex(index)
                qtbot.wait(20)
                assert window.minimumSizeHint().width() <= SIZES[0][0]
                assert (window.width(), window.height()) == size
                keep(window, f"{theme}-{size[0]}-{dock.tabs.tabText(index)}")


@pytest.mark.timeout(600)
def test_start_page_and_cohort_fit_every_screen(
    make_napari_viewer: Callable[..., Any], crowded: Project, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    dock = SemisegDock(viewer)
    viewer.window.add_dock_widget(dock, name="Semiseg", area="right")
    window, table = viewer.window._qt_window, dock.cohort.table
    remember_project(crowded.folder, crowded.name * 3, 1, 20)
    remember_project(crowded.folder / "gone", crowded.name * 3, 1, 20)
    for theme in ("dark", "light"):
        get_settings().appearance.theme = theme
        for size in SIZES[:3]:
            dock.session.close_project()
            window.resize(*size)
            qtbot.waitUntil(lambda size=size: fits(dock, size))
            dock.start_page.refresh()
            zone = dock.start_page.zone
            page = dock.start_page
            qtbot.wait(100)
            qtbot.waitUntil(
                lambda page=page: not any(map(is_cut, page.findChildren(QLabel)))
            )
            assert zone.width() <= dock.width()
            for one in dock.start_page.findChildren(QAbstractButton):
                assert one.mapTo(zone.window(), one.rect().bottomRight()).x() < size[0]
            qtbot.wait(200)  # drawn, too
            keep(window, f"{theme}-{size[0]}-Start")
            dock.open_project(crowded.folder)
            table.toggle_all()
            for wide in (False, True):
                if wide:
                    dock.cohort.width_button.click()
                    # All columns, or the image would have less than it must have.
                    most = min(WIDE_PANEL, size[0] - CANVAS_WIDTH)
                    qtbot.waitUntil(lambda most=most: dock.width() > most - SLACK)
                named = [*dock.cohort.filters.buttons.values(), dock.cohort.add_button]
                qtbot.waitUntil(lambda named=named: not any(map(is_cut, named)))
                assert (window.width(), window.height()) == size
                shown = [n for n in range(len(FIELDS)) if not table.isColumnHidden(n)]
                across = sum(map(table.columnWidth, shown))
                assert across <= table.viewport().width()
                assert table.columnWidth(0) >= NAME_WIDTH
                bar = dock.cohort.bar
                for one in (*bar.buttons.values(), bar.use, bar.more):
                    assert one.isVisible()
                    assert one.geometry().right() <= bar.width()
                qtbot.wait(200)
                keep(window, f"{theme}-{size[0]}-Cohort{'-wide' if wide else ''}")
            dock.cohort.width_button.click()
            table.toggle_all()


def fits(dock: SemisegDock, size: tuple[int, int]) -> bool:
    wanted = next(width for least, width in WIDTHS if size[0] >= least)
    return bool(dock.width() <= wanted + SLACK)


def is_cut(one: QWidget) -> bool:
    """Whether a text that is shown has less room than it needs."""
    wrapped = isinstance(one, QLabel) and one.wordWrap()
    if wrapped:
        return one.isVisible() and one.height() < one.heightForWidth(one.width())
    elided = isinstance(one, QElidingLabel)
    return one.isVisible() and not elided and one.width() < one.sizeHint().width()


def keep(window: Any, name: str) -> None:
    """Keep a picture of the window, all of which the screen must show."""
    room = window.screen().geometry()
    assert room.contains(window.geometry()), "make the virtual screen larger: tox.ini"
    picture = window.screen().grabWindow(int(window.winId()))
    assert picture.size() == window.size()
    assert picture.save(str(pictures_of("sizes") / f"{name.split()[0]}.png"))


@pytest.mark.parametrize("canvas", ["#000000", "#ffffff", "#262930", "#efebe9"])
def test_what_is_written_on_a_canvas_can_be_read(canvas: str) -> None:
    inside, outline = ink(QColor(canvas))
    assert contrast(inside, QColor(canvas)) >= LEGIBLE
    assert contrast(inside, outline) >= LEGIBLE


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize(
    ("text", "grounds"),
    [
        ("text", ("background", "card", "control", "line")),
        ("secondary", ("background", "card")),
        ("chip_text", ("chip",)),
        ("#ffffff", ("accent", "accent_hover")),
    ],
)
def test_text_of_the_panel_can_be_read_on_what_it_stands_on(
    theme: str, text: str, grounds: tuple[str, ...]
) -> None:
    tokens = colours(theme)
    for ground in grounds:
        pair = QColor(tokens.get(text, text)), QColor(tokens[ground])
        assert contrast(*pair) >= LEGIBLE, ground


def contrast(first: QColor, second: QColor) -> float:
    """Contrast of two colours, 1 to 21, after WCAG 2.1."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: QColor) -> float:
    parts = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in colour.getRgbF()[:3]
    ]
    return sum(
        w * part for w, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
    )
