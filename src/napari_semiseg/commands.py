"""Run the panel's actions from napari's menus and command palette."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from napari_semiseg.widgets.dock import SemisegDock

DOCK_NAME = "Semiseg (Semiseg)"
"""Name napari gives the dock when it is opened from the Plugins menu."""


def find_panel(viewer: Any) -> SemisegDock | None:
    """Return the panel that is docked in a viewer's window, or None."""
    from napari_semiseg.widgets.dock import SemisegDock

    window = viewer.window
    if hasattr(window, "dock_widgets"):
        docked = list(window.dock_widgets.values())
    else:  # napari before 0.6.2
        docked = [dock.inner_widget() for dock in window._dock_widgets.values()]
    return next((one for one in docked if isinstance(one, SemisegDock)), None)


def open_panel(viewer: Any = None) -> SemisegDock:
    """Show the panel in a viewer (the current one), docking it when it is not yet.

    Raises
    ------
    SemisegError
        There is no viewer.
    """
    from napari import current_viewer

    from napari_semiseg.errors import SemisegError
    from napari_semiseg.widgets.dock import SemisegDock

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


def create_project() -> None:
    """Ask for a new project in the panel."""
    open_panel().ask_create()


def open_project() -> None:
    """Ask for a project folder in the panel."""
    open_panel().ask_open()


def show_cohort() -> None:
    """Bring the table of cases to the front."""
    open_panel().show_tab("Cohort")


def show_training() -> None:
    """Bring the training tab to the front."""
    open_panel().show_tab("Train")


def show_review() -> None:
    """Bring the review tab to the front."""
    open_panel().show_tab("Review")


def show_progress() -> None:
    """Bring the plots of all corrections to the front."""
    open_panel().show_tab("Progress")


def accept_several() -> None:
    """Show many predictions side by side, to accept or reopen."""
    open_panel().progress.accept_several()


def add_images() -> None:
    """Ask for images to add to the open project."""
    panel = open_panel()
    panel.show_tab("Cohort")
    panel.cohort.ask_files()


def start_training() -> None:
    """Train with the settings of the panel's Train tab."""
    panel = open_panel()
    panel.show_tab("Train")
    panel.training.start()


def stop_training() -> None:
    """Ask the training under way to end."""
    open_panel().training.stop()


def accept_and_next() -> None:
    """Accept the label of the open case and open the next one."""
    open_panel().review.accept_and_next()


def skip_case() -> None:
    """Put the open case at the end of the queue and open the next one."""
    panel = open_panel()
    panel.show_tab("Review")
    panel.review.skip()


def flag_case() -> None:
    """Ask why the open case needs a second look, and note it."""
    panel = open_panel()
    panel.show_tab("Review")
    panel.review.flag()


def next_worst_slice() -> None:
    """Go to the next slice that the model is unsure of."""
    open_panel().case_view.next_worst_slice()


def export_masks() -> None:
    """Ask where to export the masks of the open project to."""
    open_panel().ask_export()


def save_draft() -> None:
    """Keep the edits of the open case without accepting them."""
    open_panel().case_view.save_draft()


def mark_slice_done() -> None:
    """Count the slice shown as annotated, or take that back."""
    open_panel().case_view.mark_slice()


def fill_between_slices() -> None:
    """Preview the mask between slices that are done."""
    from napari_semiseg.widgets.tools.operations import BETWEEN

    panel = open_panel()
    panel.show_tab("Review")
    panel.review.toolbox.take(BETWEEN)


def move_boundary() -> None:
    """Preview the mask with its boundary moved by millimetres."""
    from napari_semiseg.widgets.tools.operations import BOUNDARY

    panel = open_panel()
    panel.show_tab("Review")
    panel.review.toolbox.take(BOUNDARY)


def adopt_layer() -> None:
    """Preview another Labels layer as the mask of the open case."""
    panel = open_panel()
    panel.show_tab("Review")
    panel.review.toolbox.adopt_layer()


def next_image() -> None:
    """Bring the next channel of the open case into view."""
    open_panel().case_view.layers.images.next()


def use_prediction() -> None:
    """Fill in the prediction where nobody has annotated."""
    open_panel().case_view.fill_from_prediction()
