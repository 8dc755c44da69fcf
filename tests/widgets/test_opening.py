"""The panel works however napari opens it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import napari
import npe2
import numpy as np
import pytest
from napari.utils._proxies import PublicOnlyProxy

from napari_semiseg import commands
from napari_semiseg.errors import SemisegError
from napari_semiseg.widgets.common.session import Session
from napari_semiseg.widgets.dock import SemisegDock, find_panel
from widgets.viewing import store_prediction

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project

COMMAND = "napari-semiseg.dock"


def by_plugins_menu(viewer: Any) -> None:
    from napari._app_model import get_app_model

    get_app_model().commands.execute_command(COMMAND).result()


def by_plugin_and_widget(viewer: Any) -> None:
    viewer.window.add_plugin_dock_widget("napari-semiseg", "Semiseg")


def by_plugin_alone(viewer: Any) -> None:
    viewer.window.add_plugin_dock_widget("napari-semiseg", tabify=True)


def by_widget_of_a_proxy(viewer: Any) -> None:
    proxy: Any = PublicOnlyProxy(viewer)
    proxy.window.add_dock_widget(SemisegDock(proxy), area="left")


def by_npe2(viewer: Any) -> None:
    made = npe2.PluginManager.instance().commands.execute(
        COMMAND, kwargs={"napari_viewer": viewer}
    )
    viewer.window.add_dock_widget(made)


def by_script_of_a_plugin(viewer: Any) -> None:
    commands.open_panel(PublicOnlyProxy(viewer))


WAYS = (
    by_plugins_menu,
    by_plugin_and_widget,
    by_widget_of_a_proxy,
    by_npe2,
    by_script_of_a_plugin,
)


def use(viewer: Any, project: Project) -> SemisegDock:
    """Open a case with a prediction, paint, and store it by a command's way."""
    panel = find_panel(viewer)
    assert panel is not None
    assert panel.open_project(project.folder)
    panel.session.case_requested.emit("case_0")
    view = panel.case_view
    assert panel.session.case_id == "case_0"
    assert view.canvases.main_notes is not None
    assert view.canvases.window is viewer.window._qt_window
    assert any(layer is view.mask for layer in viewer.layers)
    view.mask.data_setitem(tuple(np.array([at]) for at in (2, 3, 4)), 1)
    assert view.dirty
    panel.review.actions_by_id["save_draft"].run(panel.review)
    assert project.case("case_0").has_draft
    return panel


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_case_opens_and_is_edited(
    way: Callable[[Any], None],
    window: None,
    project: Project,
    notifications: list[str],
) -> None:
    store_prediction(project, "case_0")
    viewer = napari.current_viewer()
    way(viewer)
    use(viewer, project)
    assert notifications == []


def test_napari_w_opens_a_working_panel(
    window: None,
    project: Project,
    notifications: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari import __main__ as command_line

    store_prediction(project, "case_0")
    viewer = napari.current_viewer()
    monkeypatch.setattr(sys, "argv", ["napari", "-w", "napari-semiseg"])
    monkeypatch.setattr(command_line, "Viewer", lambda *_, **__: viewer)
    monkeypatch.setattr(napari, "run", lambda *_, **__: None)
    command_line.main()
    use(viewer, project)
    assert notifications == []


@pytest.mark.parametrize("second", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("first", [by_plugin_alone, by_plugins_menu])
def test_a_viewer_shows_the_panel_that_it_has(
    first: Callable[[Any], None],
    second: Callable[[Any], None],
    window: None,
    project: Project,
    qtbot: QtBot,
) -> None:
    if second is by_widget_of_a_proxy:
        pytest.skip("a script that makes a panel of its own wants one")
    if first is second:
        pytest.skip("napari shows and hides its own dock")
    store_prediction(project, "case_0")
    viewer = napari.current_viewer()
    first(viewer)
    panel = find_panel(viewer)
    assert panel.open_project(project.folder)
    second(viewer)
    qtbot.waitUntil(panel.isVisible)
    assert find_panel(viewer) is panel
    assert len(viewer.window._qt_window.findChildren(SemisegDock)) == 1
    assert len(viewer.window.dock_widgets) == 1
    assert panel.session.project is not None
    use(viewer, project)


def test_each_of_two_viewers_has_a_panel_of_its_own(
    window: None, make_napari_viewer: Callable[..., Any], project: Project
) -> None:
    store_prediction(project, "case_0")
    viewers = [napari.current_viewer(), make_napari_viewer(show=True)]
    for viewer in viewers:
        by_plugin_alone(viewer)
    for viewer in viewers:
        panel = use(viewer, project)
        assert panel.viewer is viewer
        project.case("case_0").folder.draft.unlink()


def test_a_viewer_without_a_window_is_refused_in_one_line(
    session: Session, notifications: list[str]
) -> None:
    from napari.components import ViewerModel

    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.elements.connections import Connections

    view = CaseView(session, ViewerModel())
    said: list[str] = []
    session.status_changed.connect(said.append)
    session.case_requested.emit("case_0")
    assert said == notifications
    assert said[0].startswith("expected a napari window to show the case in")
    Connections.close_below(view)


@pytest.mark.parametrize("error", [KeyError("case_9"), SemisegError("mend it")])
def test_what_a_callback_raises_is_what_napari_shows(error: Exception) -> None:
    def fail(_: object) -> None:
        raise error

    session = Session()
    session.case_opened.connect(fail)
    session.case_requested.connect(session.case_opened.emit)
    with pytest.raises(type(error)) as raised:
        session.case_requested.emit("case_9")
    assert raised.value is error
