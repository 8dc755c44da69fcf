"""Mark with the mouse what an assistant turns into a mask."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QWidget,
)

from napari_semiseg.assistants.assist import history_entry, propose_into
from napari_semiseg.assistants.prompts import Prompt
from napari_semiseg.assistants.registry import assistants
from napari_semiseg.widgets.canvas.overlays import LegendEntry
from napari_semiseg.widgets.common.background import show_errors
from napari_semiseg.widgets.common.preferences import (
    assistant,
    environment,
    remember_assistant,
    remember_environment,
)
from napari_semiseg.widgets.elements.buttons import KeyButton
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    dialog_buttons,
    plain,
    plain_label,
    push_button,
    row_of,
    stack,
)
from napari_semiseg.widgets.elements.style import look
from napari_semiseg.widgets.tools.drawing import PAN
from napari_semiseg.widgets.tools.preview import COLOURS
from napari_semiseg.widgets.tools.registry import Inputs, Tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.assistants.prompts import Kind
    from napari_semiseg.widgets.canvas.case_view import CaseView

PROMPT = "prompt"
"""Id of the tool."""
SIGNS = (
    (True, "Part of it", "plus_circle_outline"),
    (False, "Not part of it", "minus_circle_outline"),
)
KINDS: tuple[tuple[Kind, str, str, str], ...] = (
    ("point", "Click", "cursor_default_click_outline", "Click on a place"),
    ("scribble", "Scribble", "gesture", "Draw a stroke, which is annotated as well"),
    (
        "box",
        "Box",
        "selection",
        "Drag a rectangle around the structure; a second one in another slice or plane "
        "says how deep the box is",
    ),
)


class Prompting(QWidget):
    """What is marked in the open case for each structure, and with what to mark.

    Parameters
    ----------
    view : CaseView
        The case that is open.

    Signals
    -------
    drawn()
        A mark is drawn further, or taken back; or another kind is drawn from now on.
    changed()
        Another set of marks, or another assistant.
    """

    drawn = Signal()
    changed = Signal()

    def __init__(self, view: CaseView) -> None:
        super().__init__()
        self.view = view
        self.foreground = True
        self.kind: Kind = "scribble"
        self._marks: dict[int, list[Prompt]] = {}
        self._noted: list[Prompt] = []
        self._case_id: str | None = None
        self._mask: Any = None
        self.signs = {
            sign: self._choice(
                text, "X" if sign is False else "", icon, "foreground", sign
            )
            for sign, text, icon in SIGNS
        }
        self.kinds = {
            kind: self._choice(text, "", icon, "kind", kind, tip)
            for kind, text, icon, tip in KINDS
        }
        self.count = look(plain_label(), "secondary")
        self.undo_button = push_button("Undo last", self.undo_last, "Take a mark back")
        self.clear_button = push_button("Clear", self.clear, "Take all marks back")
        self.assistant = QComboBox()
        self.assistant.setToolTip("What turns the marks into a mask")
        self.assistant.setAccessibleName("Assistant")
        self.assistant.setMinimumContentsLength(6)
        self.assistant.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        for row, one in enumerate(assistants().values()):
            self.assistant.addItem(one.title, one.name)
            self.assistant.setItemData(
                row, plain(one.hint), Qt.ItemDataRole.ToolTipRole
            )
        row = self.assistant.findData(assistant())
        self.assistant.setCurrentIndex(max(row, 0))
        self.assistant.activated.connect(self._choose_assistant)
        self.server_button = push_button("Server\u2026", self.ask_settings)
        self.server_button.setToolTip("Address and key of what this assistant asks")
        chooser = row_of(self.assistant, look(self.server_button, "flat"))
        below = QHBoxLayout()
        below.addWidget(self.count, 1)
        for button in (self.undo_button, self.clear_button):
            below.addWidget(look(button, "flat"))
        rows = [self._row(buttons) for buttons in (self.signs, self.kinds)]
        stack(self, *rows, below, chooser, margin=0).setSpacing(4)
        connections = Connections(self)
        connections.add(self._case_shown, view.model.shown)
        connections.add(self._turned, view.viewer.dims.events.ndisplay)
        self._connections = Connections(self)
        self._show()

    # -- what is marked --------------------------------------------------------------

    @property
    def marks(self) -> list[Prompt]:
        """Marks of the structure in hand, oldest first."""
        return self._marks.setdefault(self.value, [])

    @property
    def value(self) -> int:
        """The structure in hand."""
        mask, editing = self.view.mask, self.view.editing
        values = (0,) if editing is None else editing.encoding.values
        chosen = None if mask is None else int(mask.selected_label)
        return chosen if chosen in values else values[0]

    @property
    def legend(self) -> list[LegendEntry]:
        """What the left button can draw, and what it draws now."""
        is_box = self.kind == "box"
        entries = [
            LegendEntry(
                COLOURS[sign],
                "+" if sign else "\u2212",
                text if sign is self.foreground else f"{text} (X)",
                not is_box and sign is self.foreground,
            )
            for sign, text, _ in SIGNS
        ]
        return [*entries, LegendEntry(COLOURS[True], "", "Box", is_box)]

    def undo_last(self) -> None:
        """Take the newest mark back."""
        if self.marks:
            self.marks.pop()
            self._changed()

    def clear(self) -> None:
        """Take all marks of this structure back."""
        self.marks.clear()
        self._changed()

    def toggle_sign(self) -> None:
        """Mark what is not part of the structure, or again what is."""
        self._choose("foreground", not self.foreground)

    def tool(self) -> Tool:
        """Tool that turns the marks into a mask."""
        chosen = assistants()[self.assistant.currentData()]
        for name in self._settings():
            environment(name)
        marks = tuple(self.marks)
        return Tool(
            PROMPT, "Prompt", chosen.hint, partial(_propose, marks, chosen.name)
        )

    def ask_settings(self) -> None:
        """Ask for what the assistant needs to know, such as the address of a server."""
        dialog, form = QDialog(self), QFormLayout()
        dialog.setWindowTitle(self.assistant.currentText())
        fields = {}
        for name, text in self._settings().items():
            fields[name] = QLineEdit(environment(name))
            if name.endswith("KEY"):
                fields[name].setEchoMode(QLineEdit.EchoMode.Password)
            form.addRow(plain_label(text), fields[name])
        stack(dialog, form, dialog_buttons(dialog, "Keep")[0])
        if dialog.exec() == QDialog.DialogCode.Accepted:
            for name, field in fields.items():
                remember_environment(name, field.text().strip())
            self.changed.emit()
        dialog.deleteLater()

    def note(self) -> None:
        """Keep the marks that are new in the history of the case."""
        current, new = self.view.model.current, self.marks
        new = [one for one in new if all(one is not old for old in self._noted)]
        if current is not None and new:
            name = str(self.assistant.currentData())
            with show_errors(self.view.session):
                current.project.note(current.case, history_entry(new, self.value, name))
                self._noted += new
                self.view.session.cases_changed.emit({current.case.id})

    # -- the mouse -------------------------------------------------------------------

    def take_up(self) -> None:
        """Let the left button mark."""
        mask = self.view.mask
        if mask is None:
            return
        if self._mask is not mask:
            self.put_down()
            self._mask = mask
            mask.mouse_drag_callbacks.append(self._drag)
            self._connections.add(self._show, mask.events.mode, mask.events.mouse_pan)
        mask.mode = PAN
        mask.mouse_pan = False
        mask.cursor = "cross"
        self._show()

    def put_down(self) -> None:
        """Let the left button do what it did before."""
        mask, self._mask = self._mask, None
        self._connections.close()
        if mask is not None:
            mask.mouse_drag_callbacks.remove(self._drag)
            if mask.mode == PAN:
                mask.mouse_pan = True
                mask.cursor = "standard"

    @property
    def in_hand(self) -> bool:
        """Whether the left button marks; not while another tool is in hand."""
        mask = self._mask
        return mask is not None and mask.mode == PAN and not mask.mouse_pan

    def _drag(self, mask: Any, event: Any) -> Iterator[None]:
        """Follow the left button until it is released."""
        flat = self.view.viewer.dims.ndisplay == 2
        if not self.in_hand or event.button != 1 or event.modifiers or not flat:
            return
        places = [mask.world_to_data(event.position)]
        self._mark(places, new=True)
        yield
        while event.type == "mouse_move":
            if self.kind != "point":
                places.append(mask.world_to_data(event.position))
                self._mark(places)
            yield
        self._changed()

    def _mark(self, places: Sequence[Any], *, new: bool = False) -> None:
        """Show a mark as far as it is drawn, in the place of its beginning."""
        mask = self._mask
        line = np.array(places[:1] if self.kind == "point" else places)
        if self.kind == "box":
            voxels = np.rint(line[[0, -1]]).astype(np.intp)
            last = np.array(mask.data.shape) - 1
            beside = (voxels.max(axis=0) < 0) | (voxels.min(axis=0) > last)
            voxels = np.clip(voxels, 0, last)[: 0 if beside.any() else 2]
        else:
            voxels = stroke(line, mask.data.shape)
        if not new and self.marks and self.marks[-1].kind == self.kind:
            self.marks[-1] = replace(self.marks[-1], voxels=voxels)
        else:
            sign = self.foreground or self.kind == "box"
            self.marks.append(Prompt(self.kind, voxels, sign))
        self.drawn.emit()
        self._show()

    # -- showing ---------------------------------------------------------------------

    def _changed(self) -> None:
        """Leave out a mark beside the image or a box of one place; tell of the rest."""
        if self.marks:
            newest = self.marks[-1]
            point = newest.kind == "box" and not np.ptp(newest.voxels, axis=0).any()
            if not len(newest.voxels) or point:
                self.marks.pop()
                how = "drag a rectangle" if point else "mark"
                self.view.session.say(f"Nothing is marked: {how} inside of the image.")
        self.drawn.emit()
        self._show()
        self.changed.emit()

    def _turned(self, _: object = None) -> None:
        """Let the left button turn the view in three dimensions."""
        if self._mask is not None and self.view.viewer.dims.ndisplay == 2:
            self.take_up()
        elif self.in_hand:
            self._mask.mouse_pan = True

    def _case_shown(self) -> None:
        case = self.view.case
        if case is None or case.id != self._case_id:
            self._case_id = None if case is None else case.id
            self._marks, self._noted = {}, []

    def _choose(self, name: str, chosen: object) -> None:
        setattr(self, name, chosen)
        self.take_up()
        self.drawn.emit()

    def _choose_assistant(self, _row: int) -> None:
        remember_assistant(str(self.assistant.currentData()))
        self._show()
        self.changed.emit()

    def _settings(self) -> dict[str, str]:
        """Environment variables of the assistant, and what each holds."""
        chosen = assistants()[self.assistant.currentData()]
        return dict(getattr(chosen, "settings", {}))

    def _show(self, _: object = None) -> None:
        for sign, button in self.signs.items():
            button.setChecked(self.in_hand and sign is self.foreground)
        for kind, button in self.kinds.items():
            button.setChecked(self.in_hand and kind == self.kind)
        self.server_button.setVisible(bool(self._settings()))
        signs = [one.foreground for one in self.marks]
        self.count.setText(f"+ {signs.count(True)}   \u2212 {signs.count(False)}")
        for back in (self.undo_button, self.clear_button):
            back.setEnabled(bool(signs))

    def _choice(
        self, text: str, key: str, icon: str, name: str, chosen: object, tip: str = ""
    ) -> KeyButton:
        run = partial(self._choose, name, chosen)
        button = KeyButton(text, key, icon, "draw", run)
        button.setCheckable(True)
        button.setToolTip(
            tip or f"Mark what is {text.lower()}" + (f" ({key})" if key else "")
        )
        return button

    def _row(self, buttons: dict[Any, KeyButton]) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(2)
        for button in buttons.values():
            row.addWidget(button, 1)
        return row


def _propose(
    marks: tuple[Prompt, ...], name: str, inputs: Inputs, _amount: float
) -> NDArray[np.uint8]:
    return propose_into(
        inputs.mask,
        inputs.encoding,
        inputs.value,
        inputs.image,
        inputs.spacing_mm,
        marks,
        locked=inputs.locked,
        assistant=name,
        cancellation=inputs.cancellation,
    )


def stroke(places: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.intp]:
    """Voxels (M, 3) of a line through places (N, 3), those within a volume."""
    parts = [places[:1]]
    for begin, end in pairwise(places):
        count = max(1, int(np.ceil(np.abs(end - begin).max())))
        share = np.linspace(0, 1, count + 1)[1:, None]
        parts.append(begin + share * (end - begin))
    voxels = np.rint(np.concatenate(parts)).astype(np.intp)
    apart = np.append(True, (np.diff(voxels, axis=0) != 0).any(axis=1))
    inside = ((voxels >= 0) & (voxels < np.asarray(shape))).all(axis=1)
    return voxels[apart & inside]
