"""Register the actions of the review: buttons, keys, help and commands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.core.registry import installed
from napari_semiseg.widgets.common import planes
from napari_semiseg.widgets.common.background import show_errors
from napari_semiseg.widgets.elements.actions import (
    FILE_MENU,
    Action,
    Group,
    by_id,
)
from napari_semiseg.widgets.tools.operations import tools

if TYPE_CHECKING:
    from napari_semiseg.widgets.review.panel import ReviewPanel
    from napari_semiseg.widgets.tools.registry import Tool

ENTRY_POINTS = "napari_semiseg.actions"
"""Entry-point group of further actions, each an `Action` of the `ReviewPanel`."""


def review_actions() -> dict[str, Action[ReviewPanel]]:
    """Actions of the review by id: built in, of the mask tools, of other packages."""
    of_tools = (_tool_action(tool) for tool in tools())
    found = by_id([*_built_in(), *of_tools, *installed(ENTRY_POINTS, Action)])
    return {name: _guarded(action) for name, action in found.items()}


def _guarded(action: Action[ReviewPanel]) -> Action[ReviewPanel]:
    """Let an action say in a line what it lacks, or what is wrong with the files."""

    def run(panel: ReviewPanel) -> object:
        if action.needs_case and panel.case_view.case is None:
            panel.session.say("Open a case first.")
            return None
        with show_errors(panel.session):
            return action.run(panel)

    return replace(action, run=run)


def _tool_action(tool: Tool) -> Action[ReviewPanel]:
    return Action(
        tool.id,
        lambda panel: panel.tool_panel.choose(tool.id),
        text=tool.title,
        key=tool.key,
        group=Group.TOOLS,
        title=tool.command,
        tab="Review",
    )


def _mode_action(
    mode: str, key: str, button: str, text: str, icon: str
) -> Action[ReviewPanel]:
    return Action(
        mode,
        lambda panel: panel.brush.set_mode(mode),
        text=text,
        key=key,
        group=Group.PAINT,
        button=button,
        icon=icon,
    )


def _built_in() -> tuple[Action[ReviewPanel], ...]:
    return (
        _mode_action("paint", "P", "Paint", "Paint", "brush"),
        _mode_action("erase", "E", "Erase", "Erase", "eraser"),
        _mode_action("fill", "F", "Fill", "Fill a region", "format_color_fill"),
        _mode_action("pan_zoom", "Z", "Pan", "Pan and zoom", "hand_back_right_outline"),
        Action(
            "next_plane",
            lambda panel: planes.next_plane(panel.case_view.viewer),
            text="Axial, coronal, sagittal",
            key="Q",
            group=Group.LOOK,
            button="Plane",
            icon="axis_arrow",
        ),
        Action(
            "toggle_mask",
            lambda panel: panel.case_view.layers.toggle_mask(),
            text="Show or hide the mask",
            key="T",
            group=Group.LOOK,
            button="Mask",
            icon="eye_outline",
        ),
        Action(
            "toggle_unannotated",
            lambda panel: panel.case_view.layers.toggle_unannotated(),
            text="Show or hide the tint over what is not annotated",
            key="H",
            group=Group.LOOK,
            button="Veil",
            icon="blur",
        ),
        Action(
            "toggle_maps",
            lambda panel: panel.case_view.canvases.toggle(),
            text="Maps beside the image, over it, or none; hold to peek",
            key="R",
            group=Group.LOOK,
            button="Maps",
            icon="map_outline",
        ),
        Action(
            "toggle_layers",
            lambda panel: panel.case_view.canvases.column.toggle(),
            text="Keep napari's layers in view, or fold them",
            key="Shift-L",
            group=Group.LOOK,
            button="Layers",
            icon="layers_outline",
        ),
        Action(
            "next_image",
            lambda panel: panel.case_view.layers.images.next(),
            text="Next image of the case, such as from T1 to FLAIR",
            key="Shift-T",
            group=Group.LOOK,
            title="Next image of the case, such as from T1 to FLAIR",
        ),
        Action(
            "toggle_surfaces",
            lambda panel: panel.case_view.surfaces.toggle(),
            text="Show the mask in three dimensions, or go back",
            key="Shift-Q",
            group=Group.LOOK,
            button="3D",
            icon="cube_outline",
        ),
        Action(
            "next_window",
            lambda panel: panel.view_bar.contrast.next_window(),
            text="Next range of grey values",
            key="Shift-C",
            group=Group.LOOK,
            button="Grey values",
            icon="contrast_circle",
        ),
        Action(
            "paint_unannotated",
            lambda panel: panel.choose_class(UNANNOTATED),
            text="Paint as not annotated",
            key="Shift-E",
            group=Group.PAINT,
        ),
        Action(
            "toggle_lock",
            lambda panel: panel.toggle_lock(),
            text="Lock or unlock the selected structure",
            key="K",
            group=Group.PAINT,
        ),
        Action(
            "apply_tool",
            lambda panel: panel.tool_panel.apply(),
            text="Use the tool: apply its preview; Ctrl+Z undoes it in one step",
            key="U",
            group=Group.TOOLS,
            button="Apply",
            icon="check",
        ),
        Action(
            "prompt",
            lambda panel: panel.tool_panel.choose("prompt"),
            text="Mark a structure, and let an assistant propose its mask",
            key="C",
            group=Group.TOOLS,
            button="Prompt",
            title="Propose a structure from marks",
            icon="gesture_tap",
            tab="Review",
        ),
        Action(
            "toggle_prompt_sign",
            lambda panel: panel.tool_panel.toggle_sign(),
            text="While prompting: mark what is not part of the structure, or what is",
            key="X",
            group=Group.TOOLS,
        ),
        Action(
            "escape",
            lambda panel: panel.escape(),
            text="Put the tool away or stop it; then pan",
            key="Escape",
            group=Group.TOOLS,
            needs_case=False,
        ),
        Action(
            "adopt_layer",
            lambda panel: panel.tool_panel.adopt_layer(),
            title="Adopt a Labels layer as the mask",
            tab="Review",
        ),
        Action(
            "next_worst_slice",
            lambda panel: panel.case_view.next_doubtful_slice(),
            text="Next most doubtful slice",
            key="W",
            group=Group.LOOK,
            button="Next doubtful slice",
            title="Go to the next most doubtful slice",
            icon="arrow_right",
        ),
        Action(
            "use_prediction",
            lambda panel: panel.case_view.fill_from_prediction(),
            text="Fill from the prediction where nothing is annotated",
            key="G",
            group=Group.TOOLS,
            button="Prediction",
            title="Use the prediction where nothing is annotated",
            icon="creation",
        ),
        Action(
            "mark_slice_done",
            lambda panel: panel.case_view.mark_slice(),
            text="This slice is done: what is not painted is background",
            key="D",
            button="Slice done",
            title="Mark the slice as done",
            icon="check",
        ),
        Action(
            "accept_painted",
            lambda panel: panel.case_view.accept(painted_only=True),
            text="Accept only what is painted, and slices that are done",
            key="Shift-A",
            button="Accept only what is painted",
        ),
        Action(
            "accept",
            lambda panel: panel.case_view.accept(),
            text="Accept: the whole volume counts as annotated",
            key="A",
            button="Accept",
            icon="check",
        ),
        Action(
            "accept_and_next",
            lambda panel: panel.accept_and_next(),
            text="Accept and open the next case of the queue",
            key="N",
            button="Accept && next",
            title="Accept label and open next case",
            icon="check_all",
        ),
        Action(
            "previous_case",
            lambda panel: panel.case_view.previous_case(),
            text="Back to the case that was open before",
            key="Shift-N",
            button="Back",
            icon="arrow_left",
        ),
        Action(
            "skip_case",
            lambda panel: panel.skip(),
            text="Skip: the case goes to the end of the queue, open the next",
            key="Shift-S",
            button="Skip",
            title="Skip the open case and open the next one",
            tab="Review",
            icon="skip_next_outline",
        ),
        Action(
            "flag_case",
            lambda panel: panel.flag(),
            text="Flag the case for a second look, with a comment",
            key="Shift-F",
            button="Flag",
            title="Flag the open case for a second look",
            tab="Review",
            icon="flag_outline",
        ),
        Action(
            "save_draft",
            lambda panel: panel.case_view.save_draft(),
            text="Save the draft now",
            key="S",
            button="Save draft",
            title="Save draft of the open case",
        ),
        Action(
            "discard_draft",
            lambda panel: panel.case_view.discard_draft(),
            text="Discard what is not accepted",
            button="Discard draft",
        ),
        Action(
            "undo_accept",
            lambda panel: panel.case_view.undo_accept(),
            text="Undo the last accept: label and edits are as before",
            button="Undo accept",
            needs_case=False,
        ),
        Action(
            "restore_mask",
            lambda panel: panel.case_view.restore(),
            text="Edit an earlier label or earlier edits of this case again",
            button="Earlier masks\u2026",
        ),
        Action(
            "export_masks",
            lambda panel: panel.export_asked.emit(),
            text="Write masks on the grid of their images",
            button="Export masks\u2026",
            needs_case=False,
            title="Export masks of the project",
            menu=FILE_MENU,
        ),
        Action(
            "show_shortcuts",
            lambda panel: panel.show_shortcuts(),
            text="List of keys",
            button="All keys",
            needs_case=False,
        ),
    )
