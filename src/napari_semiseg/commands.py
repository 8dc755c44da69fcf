"""Run the panel's actions from napari's menus and command palette."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_semiseg.widgets.elements.actions import (
    FILE_MENU,
    SEGMENT_MENU,
    Action,
    by_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_semiseg.widgets.dock import SemisegDock
    from napari_semiseg.widgets.review.panel import ReviewPanel

DOCK_NAME = "Semiseg (Semiseg)"
"""Name napari gives the dock when it is opened from the Plugins menu."""


def _show(name: str, title: str, tab: str) -> Action[SemisegDock]:
    """Make an action that only brings a tab to the front."""
    return Action(name, lambda _: None, title=title, menu="", tab=tab)


ACTIONS: tuple[Action[SemisegDock], ...] = (
    Action(
        "create_project",
        lambda panel: panel.ask_create(),
        title="Create a project",
        menu=FILE_MENU,
    ),
    Action(
        "open_project",
        lambda panel: panel.ask_open(),
        title="Open a project",
        menu=FILE_MENU,
    ),
    Action(
        "add_images",
        lambda panel: panel.cohort.ask_files(),
        title="Add images to the project",
        menu="",
        tab="Cohort",
    ),
    _show("show_cohort", "Show the cohort", "Cohort"),
    _show("show_training", "Show training", "Train"),
    _show("show_review", "Show the review", "Review"),
    _show("show_progress", "Show the progress of corrections", "Progress"),
    Action(
        "accept_several",
        lambda panel: panel.progress.accept_several(),
        title="Accept several predictions, or reopen cases",
    ),
    Action(
        "second_reader",
        lambda panel: panel.ask_reader(),
        title="Compare with a second reader",
        menu="",
    ),
    Action(
        "export_model",
        lambda panel: panel.ask_export_model(),
        title="Export the trained model",
        menu=FILE_MENU,
    ),
    Action(
        "start_training",
        lambda panel: panel.training.start(),
        title="Start training",
        menu=SEGMENT_MENU,
        tab="Train",
    ),
    Action(
        "check_labels",
        lambda panel: panel.training.check_labels(),
        title="Check the labels by models that have not seen them",
        menu=SEGMENT_MENU,
    ),
    Action(
        "stop_training",
        lambda panel: panel.training.stop(),
        title="Stop training",
        menu="",
    ),
)
"""Actions of the panel as a whole; see `review.actions` for those of the review."""


def actions() -> dict[str, Action[SemisegDock]]:
    """All actions of the panel by id, those of the review included."""
    from napari_semiseg.widgets.review.actions import review_actions

    return by_id([*ACTIONS, *map(_of_review, review_actions().values())])


def _of_review(action: Action[ReviewPanel]) -> Action[SemisegDock]:
    return Action(
        action.id,
        lambda panel: action.run(panel.review),
        title=action.title,
        menu=action.menu,
        tab=action.tab,
    )


def __getattr__(name: str) -> Callable[[], None]:
    """Make the function of a command, which napari looks up by the action's id."""
    action = None if name.startswith("_") else actions().get(name)
    if action is None:
        raise AttributeError(f"module {__name__!r} has no action {name!r}")

    def command() -> None:
        from napari_semiseg.widgets.common.background import show_errors

        panel = open_panel()
        if action.tab:
            panel.show_tab(action.tab)
        with show_errors(panel.session):
            action.run(panel)

    return command


def open_panel(viewer: Any = None) -> SemisegDock:
    """Show the panel in a viewer (the current one), docking it when it is not yet.

    Raises
    ------
    SemisegError
        There is no viewer.
    """
    from napari import current_viewer

    from napari_semiseg.errors import SemisegError
    from napari_semiseg.widgets.dock import SemisegDock, find_panel

    viewer = viewer or current_viewer()
    if viewer is None:
        raise SemisegError(
            "the Semiseg panel needs a napari window: start napari first"
        )
    panel = find_panel(viewer)
    if panel is None:
        panel = SemisegDock(viewer)
        viewer.window.add_dock_widget(panel, name=DOCK_NAME, area="right")
    dock = panel.parentWidget()
    if dock is not None:
        dock.show()
        dock.raise_()
    return panel


def open_project_in_viewer(folder: Path | str, viewer: Any = None) -> SemisegDock:
    """Show the panel with a project.

    Parameters
    ----------
    folder : Path
        The project folder, or its ``project.toml``.
    viewer : napari.Viewer, optional
        The current viewer by default.
    """
    panel = open_panel(viewer)
    panel.open_project(folder)
    return panel
