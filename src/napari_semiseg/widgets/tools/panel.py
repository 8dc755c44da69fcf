"""Choose a mask tool, see the outline of its result, apply it as one undo step."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QMenu,
    QSlider,
    QWidget,
)
from superqt.utils import QSignalThrottler, signals_blocked

from napari_semiseg.core.text import millilitres
from napari_semiseg.widgets.canvas.mask_layer import MaskLayer
from napari_semiseg.widgets.elements.actions import short
from napari_semiseg.widgets.elements.buttons import (
    KeyButton,
    action_button,
    show_action,
    tip_of,
)
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import (
    plain,
    plain_label,
    row_of,
    stack,
    wrapped_label,
)
from napari_semiseg.widgets.elements.style import look
from napari_semiseg.widgets.tools.operations import (
    INTERPOLATE,
    MOVE_BOUNDARY,
    REFINE,
    adopt,
    tools,
)
from napari_semiseg.widgets.tools.preview import Preview
from napari_semiseg.widgets.tools.prompting import PROMPT, Prompting
from napari_semiseg.widgets.tools.registry import Inputs, Tool
from napari_semiseg.widgets.tools.worker import PreviewWorker, voxels_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.canvas.editing import Editing
    from napari_semiseg.widgets.common.session import Session
    from napari_semiseg.widgets.elements.actions import Action

DELAY_MS = 60
ADOPT = "Adopt layer: "


class ToolPanel(QWidget):
    """A row of buttons, and a frame with the settings of the chosen tool.

    Parameters
    ----------
    session : Session
        Shows messages in the status line.
    view : CaseView
        The case that is open.
    actions : mapping of str to Action
        Of the review; whose labels and keys the buttons have.
    panel : object
        What these actions are run with.

    Signals
    -------
    opened(bool)
        A tool was chosen, or put away.
    """

    opened = Signal(bool)

    def __init__(
        self,
        session: Session,
        view: CaseView,
        actions: Mapping[str, Action[Any]],
        panel: Any,
    ) -> None:
        super().__init__()
        self.session = session
        self.view = view
        connections = Connections(self)
        self.preview = Preview(view, connections)
        self.worker = PreviewWorker(session, view.model, view.layers)
        self._tools = tools()
        self.tool: Tool | None = None
        self._actions = actions
        self.prompting = Prompting(view)
        self.prompt_button = action_button(actions["prompt"], panel, "tool")
        self._of: Editing | None = None
        self._voxels: Any = None
        self._refined = ("", 0.0)
        boundary = partial(self.choose, MOVE_BOUNDARY.id)
        self.boundary_button = KeyButton(
            "Boundary", "", "arrow_expand_all", "tool", boundary
        )
        show_action(self.boundary_button, actions[MOVE_BOUNDARY.id])
        self._menu_buttons: list[KeyButton] = []
        self._make_menus(panel)
        self.tool_frame = look(QFrame(), "card")
        self.title = look(plain_label(), "title")
        self.amount = QDoubleSpinBox()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        for widget in (self.amount, self.slider):
            widget.setAccessibleName("Amount")
            widget.setToolTip("How much the tool changes")
        self.human_verified = QCheckBox("Count what is filled in as annotated")
        self.human_verified.setToolTip(
            "Otherwise it is a proposal, shown paler, until you mark slices as done "
            "or accept the whole volume"
        )
        self.text = look(wrapped_label(), "secondary")
        self.apply_button = action_button(actions["apply_tool"], panel, "primary")
        self.cancel_button = KeyButton("Close", "Esc", run=self.cancel)
        self.cancel_button.setToolTip("The mask stays as it is")
        self._later = QSignalThrottler(
            QSignalThrottler.EmissionPolicy.Trailing, parent=self
        )
        self._later.setTimeout(DELAY_MS)
        self._later.triggered.connect(self._compute)
        self._build()
        self._show_tool()
        connections.add(self._case_shown, view.model.shown)
        connections.add(self._mask_changed, view.model.counted)
        connections.add(self._layer_removed, view.viewer.layers.events.removed)
        connections.add(self._show_result, self.worker.ready)
        connections.add(self._show_refusal, self.worker.refused)
        self.prompting.drawn.connect(self._marks_drawn)
        self.prompting.changed.connect(self._marks_changed)
        connections.at_close(self._later.cancel)
        connections.at_close(self.worker.stop)

    def offered(self) -> list[Tool]:
        """List the tools, and the layers that can be adopted."""
        others = map(self._adopter, self._other_layers())
        return [*self._tools, self.prompting.tool(), *others]

    @property
    def refines(self) -> bool:
        """Whether something is annotated that the prediction has not followed yet."""
        current = self.view.model.current
        if current is None or current.prediction is None:
            return False
        annotated = current.editing.annotated
        run = current.project.layout.run(current.prediction.record.run)
        maps = run.prediction(current.case.id).feature_maps
        new = (current.case.id, annotated) != self._refined
        return 0 < annotated < 1 and new and maps.is_file()

    def choose(self, tool_id: str) -> None:
        """Choose a tool, or put it away when it is chosen already."""
        chosen = next(tool for tool in self.offered() if tool.id == tool_id)
        put_away = self.tool is not None and self.tool.id == tool_id
        self.tool = None if put_away else chosen
        self._show_tool()

    def cancel(self, _: object = None) -> None:
        """Put the tool away; the mask stays as it is."""
        if self.tool is not None:
            self.tool = None
            self._show_tool()

    def refresh(self) -> None:
        """Compute the preview again, for another class is selected."""
        if self.tool is not None and self.tool.id == PROMPT:
            self._marks_changed()
        elif self.tool is not None:
            self._later.throttle()

    def toggle_sign(self) -> None:
        """Mark the other side; without prompts, paint background or the structure."""
        if self.tool is not None and self.tool.id == PROMPT:
            self.prompting.toggle_sign()
        elif self.view.mask is not None:
            self.view.mask.swap_selected_and_background_labels()

    def adopt_layer(self) -> None:
        """Choose to adopt the newest Labels layer that is not a mask of the panel."""
        layers = self._other_layers()
        if layers:
            self.tool = self._adopter(layers[-1])
            self._show_tool()
        else:
            self.session.say(
                "No other Labels layer to adopt: make one first, for example with "
                "nnInteractive or micro-sam."
            )

    def apply(self) -> None:
        """Write what is previewed into the mask, as one undo step."""
        tool, mask, current = self.tool, self.view.mask, self.view.model.current
        if tool is None or mask is None or current is None:
            self.session.say("Choose a tool first.")
            return
        if self.worker.stale:
            self.session.say("The mask has changed: look at the preview once more.")
            self.worker.forget()
            self._compute()
            return
        result = self.worker.result(
            tool, self.amount.value(), human_verified=self.human_verified.isChecked()
        )
        if result is None:
            self.session.say("The preview is not ready yet.")
            return
        editing = current.editing
        voxels = self._voxels or voxels_of(editing.encoding, mask.data, result)
        changed = mask.put(result)
        if tool.id == PROMPT:
            self.prompting.note()
        if tool is REFINE:
            self._refined = (current.case.id, editing.annotated)
        self.cancel()
        if changed:
            text = f"{tool.title}: {self._volumes(*voxels)}"
            self.session.offer(text, "Undo", partial(self._take_back, editing, result))
        else:
            self.session.say(f"{tool.title}: nothing to change.")

    def _take_back(self, editing: Editing, result: NDArray[np.uint8]) -> None:
        """Undo what was applied, unless something else was done since."""
        if editing is self.view.editing and np.array_equal(editing.values, result):
            editing.layer.undo()
        else:
            self.session.say("The mask has changed since: Ctrl+Z goes back by steps.")

    # -- choosing and setting --------------------------------------------------------

    def _make_menus(self, panel: Any) -> None:
        prediction = self._actions["use_prediction"]
        tip = "What the model proposes, and what it makes of your corrections"
        self.predicted = self._menu("Prediction", prediction.icon, tip)
        show_action(self._menu_buttons[-1], prediction)
        tip = "Fill in between slices that are done"
        self.between = self._menu("Between", "layers_triple_outline", tip)
        show_action(self._menu_buttons[-1], self._actions[INTERPOLATE.id])
        tip = "Pieces, specks, holes, the surface; tools of others; other layers"
        self.clean_up = self._menu("Clean up", "broom", tip)
        for menu in (self.predicted, self.between, self.clean_up):
            menu.aboutToShow.connect(partial(self._fill_menus, panel))
        self._fill_menus(panel)

    def _menu(self, text: str, icon: str, tip: str) -> QMenu:
        """Make a button with a menu of tools, and give the menu."""
        button, menu = KeyButton(text, "", icon, "tool"), QMenu(self)
        menu.setToolTipsVisible(True)
        button.setToolTip(tip)
        button.setMenu(menu)
        self._menu_buttons.append(button)
        return menu

    def _offer(self, menu: QMenu, tool: Tool) -> None:
        action = self._actions.get(tool.id)
        key = f"\t{short(action.key)}" if action and action.key else ""
        entry = menu.addAction(f"{tool.title}{key}".replace("&", "&&"))
        entry.setToolTip(plain(tool.text))
        entry.triggered.connect(lambda *_: self.choose(tool.id))

    def _fill_menus(self, panel: Any) -> None:
        for menu in (self.predicted, self.between, self.clean_up):
            menu.clear()
        prediction = self._actions["use_prediction"]
        key = f"\t{short(prediction.key)}" if prediction.key else ""
        entry = self.predicted.addAction(f"Use the prediction{key}")
        entry.setToolTip(tip_of(prediction))
        entry.triggered.connect(lambda *_: prediction.run(panel))
        self._offer(self.predicted, REFINE)
        for tool in self.offered():
            if tool is not MOVE_BOUNDARY and tool is not REFINE:
                self._offer(self.between if tool.fills else self.clean_up, tool)

    def _build(self) -> None:
        grid = QGridLayout(self.tool_frame)
        grid.setContentsMargins(10, 8, 10, 10)
        grid.setVerticalSpacing(6)
        grid.addWidget(self.title, 0, 0, 1, 2)
        grid.addWidget(self.prompting, 1, 0, 1, 2)
        grid.addWidget(self.slider, 2, 0)
        grid.addWidget(self.amount, 2, 1)
        grid.addWidget(self.human_verified, 3, 0, 1, 2)
        grid.addWidget(self.text, 4, 0, 1, 2)
        grid.addLayout(row_of(self.apply_button, self.cancel_button), 5, 0, 1, 2)
        grid.setColumnStretch(0, 3)
        grid.setColumnStretch(1, 2)
        predicted, *menus = self._menu_buttons
        row = (self.prompt_button, predicted, self.boundary_button, *menus)
        buttons = QHBoxLayout()
        buttons.setSpacing(3)
        for button in row:
            buttons.addWidget(button, 1)
        stack(self, buttons, self.tool_frame, margin=0).setSpacing(6)
        self.amount.valueChanged.connect(self._amount_changed)
        self.slider.valueChanged.connect(self._slider_moved)
        self.human_verified.toggled.connect(lambda _: self._later.throttle())

    def _show_tool(self, _: object = None) -> None:
        """Show what belongs to the tool, and its preview."""
        tool = self.tool
        self._of = None if tool is None else self.view.editing
        self.worker.stop()
        self.preview.clear()
        amount = None if tool is None else tool.amount
        if amount is not None:
            with signals_blocked(self.amount, self.slider):
                self.amount.setRange(amount.low, amount.high)
                self.amount.setSingleStep(amount.step)
                self.amount.setDecimals(2 if amount.step < 1 else 0)
                self.amount.setSuffix(f" {amount.unit}")
                self.amount.setValue(amount.start)
                ends = (amount.low, amount.high)
                self.slider.setRange(*(round(end / amount.step) for end in ends))
                self.slider.setValue(round(amount.start / amount.step))
        slides = amount is not None and amount.slider
        self.slider.setVisible(slides)
        symbols = QDoubleSpinBox.ButtonSymbols
        self.amount.setButtonSymbols(symbols.NoButtons if slides else symbols.PlusMinus)
        self.amount.setVisible(amount is not None)
        self.human_verified.setVisible(tool is not None and tool.fills)
        self.boundary_button.setCheckable(True)
        self.boundary_button.setChecked(tool is MOVE_BOUNDARY)
        self.apply_button.setEnabled(False)
        prompts = tool is not None and tool.id == PROMPT
        self.prompting.setVisible(prompts)
        self.prompt_button.setCheckable(True)
        self.prompt_button.setChecked(prompts)
        self.apply_button.set_step(
            "Keep as proposal" if prompts else "Apply", self.apply_button.key
        )
        (self.prompting.take_up if prompts else self.prompting.put_down)()
        self._marks_drawn()
        has_frame = tool is not None and not tool.at_once
        self.tool_frame.setVisible(has_frame)
        self.opened.emit(has_frame)
        if tool is not None and tool.at_once:
            self.session.say(f"{tool.title} \u2026 Esc stops it.")
        if tool is not None:
            self.title.setText(tool.title)
            self.text.setText(tool.text)
            self._later.throttle()

    def _marks_drawn(self) -> None:
        prompts = self.prompting if self.tool and self.tool.id == PROMPT else None
        if prompts is None:
            self.preview.show_marks((), ())
        else:
            self.preview.show_marks(prompts.marks, prompts.legend)

    def _marks_changed(self) -> None:
        """Let the assistant answer anew; what it still computes is dropped."""
        if self.tool is not None and self.tool.id == PROMPT:
            self.tool = self.prompting.tool()
            self.apply_button.setEnabled(False)
            self.worker.forget()
            self.preview.clear()
            self._marks_drawn()
            self.text.setText(self.tool.text)
            self._later.throttle()

    def _slider_moved(self, position: int) -> None:
        if self.tool is not None and self.tool.amount is not None:
            self.amount.setValue(position * self.tool.amount.step)

    def _amount_changed(self, value: float) -> None:
        if self.tool is not None and self.tool.amount is not None:
            with signals_blocked(self.slider):
                self.slider.setValue(round(value / self.tool.amount.step))
            self._later.throttle()

    def _case_shown(self) -> None:
        """Put the tool away with its mask; a newer prediction leaves it in hand."""
        if self.view.editing is not self._of:
            self.cancel()

    def _mask_changed(self, _: object = None) -> None:
        if self.worker.stale:
            self.worker.forget()
            self._later.throttle()

    # -- preview ---------------------------------------------------------------------

    def _compute(self) -> None:
        tool = self.tool
        if tool is not None and (tool.id != PROMPT or self.prompting.marks):
            human_verified = self.human_verified.isChecked()
            self.worker.start(tool, self.amount.value(), human_verified=human_verified)

    def _show_result(self, slices: Any, voxels: Any) -> None:
        self._voxels = voxels
        if self.tool is not None and self.tool.at_once:
            self.apply()
        elif self.tool is not None:
            self.preview.show_slices(slices)
            self.apply_button.setEnabled(voxels is None or self.worker.changes)
            changes = "" if voxels is None else f": {self._volumes(*voxels)}"
            short_of_room = self.tool.amount is not None
            lead = "" if short_of_room else f"{self.tool.text} "
            self.text.setText(f"{lead}The outline shows the result{changes}.")
            self.text.setToolTip(plain(self.tool.text))

    def _volumes(self, before: dict[int, int], after: dict[int, int]) -> str:
        """Say the volume of each structure that changes, now and then."""
        current = self.view.model.current
        if current is None:
            return ""
        words = []
        for item in current.project.labels:
            counts = [found.get(item.value, 0) for found in (before, after)]
            if counts[0] != counts[1]:
                voxel = current.case.geometry.voxel_ml
                change = (counts[1] - counts[0]) * voxel
                old, new = (millilitres(n * voxel, change) for n in counts)
                words.append(f"{item.name} {old} \u2192 {new} mL")
        return ", ".join(words) or "nothing changes"

    def _show_refusal(self, reason: str) -> None:
        self.preview.clear()
        self.apply_button.setEnabled(False)
        self.text.setText(reason)
        if self.tool is not None and self.tool.at_once:
            self.cancel()
        self.session.say(reason)

    # -- other layers ----------------------------------------------------------------

    def _other_layers(self) -> list[Any]:
        return [
            layer
            for layer in self.view.viewer.layers
            if isinstance(layer, Labels) and not isinstance(layer, MaskLayer)
        ]

    def _layer_removed(self, _event: object = None) -> None:
        """Put a tool away whose layer is gone."""
        if self.tool is not None and all(
            one.id != self.tool.id for one in self.offered()
        ):
            self.cancel()

    def _adopter(self, layer: Any) -> Tool:
        return Tool(
            f"adopt {layer.name}",
            f"{ADOPT}{layer.name}",
            "Takes the voxels of this layer where you have not annotated.",
            partial(self._adopt, layer),
            reads_layers=True,
        )

    def _adopt(self, layer: Any, inputs: Inputs, _amount: float) -> NDArray[np.uint8]:
        return adopt(layer, self.view.mask, inputs)
