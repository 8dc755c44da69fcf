"""Choose a mask tool, see the outline of its result, apply it as one undo step."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QSlider,
    QWidget,
)
from superqt.utils import QSignalThrottler, signals_blocked

from napari_semiseg.widgets.canvas.mask_layer import MaskLayer
from napari_semiseg.widgets.common.connections import Connections
from napari_semiseg.widgets.common.forms import plain, plain_button, wrapped_label
from napari_semiseg.widgets.tools.operations import adopt, tools
from napari_semiseg.widgets.tools.preview import Preview
from napari_semiseg.widgets.tools.registry import Inputs, Tool
from napari_semiseg.widgets.tools.worker import PreviewWorker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.common.actions import Action
    from napari_semiseg.widgets.common.session import Session

DELAY_MS = 60
ADOPT = "Adopt layer: "
CHOOSE = "Changes the mask as a whole; its outline is shown before anything changes"


class ToolPanel(QWidget):
    """One row until a tool is chosen; then its amount, and apply or cancel.

    Parameters
    ----------
    session : Session
        Shows messages in the status line.
    view : CaseView
        The case that is open.
    apply_action : Action
        Whose label and key the button has.
    """

    def __init__(
        self, session: Session, view: CaseView, apply_action: Action[Any]
    ) -> None:
        super().__init__()
        self.session = session
        self.view = view
        connections = Connections(self)
        self.preview = Preview(view, connections)
        self.worker = PreviewWorker(session, view.model, view.layers)
        self._tools = tools()
        self.choice = QComboBox()
        self.choice.setAccessibleName("Tool for the mask")
        self.choice.setToolTip(CHOOSE)
        self.choice.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.choice.setMinimumContentsLength(16)
        self.choice.setFocusPolicy(Qt.FocusPolicy.TabFocus)
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
        self.text = wrapped_label()
        self.apply_button = plain_button(
            apply_action.label, apply_action.text, self.apply
        )
        self.cancel_button = plain_button(
            "Cancel", "Put the tool away; nothing changes", self.cancel
        )
        self._later = QSignalThrottler(
            QSignalThrottler.EmissionPolicy.Trailing, parent=self
        )
        self._later.setTimeout(DELAY_MS)
        self._later.triggered.connect(self._compute)
        self._build()
        self.fill_choice()
        layers = view.viewer.layers.events
        connections.add(self.cancel, view.model.shown)
        connections.add(self._mask_changed, view.model.counted)
        connections.add(self.fill_choice, layers.inserted, layers.removed)
        connections.add(self._show_result, self.worker.ready)
        connections.add(self._show_refusal, self.worker.refused)
        connections.at_close(self._later.cancel)
        connections.at_close(self.worker.forget)

    @property
    def tool(self) -> Tool | None:
        """The chosen tool; None while none is chosen."""
        chosen = self.choice.currentData()
        return chosen if isinstance(chosen, Tool) else None

    def fill_choice(self, _: object = None) -> None:
        """List the tools, and the layers that can be adopted."""
        before = self.choice.currentText()
        with signals_blocked(self.choice):
            self.choice.clear()
            self.choice.addItem("Tools for the mask…", None)
            for tool in (*self._tools, *map(self._adopter, self._other_layers())):
                self.choice.addItem(tool.title, tool)
                tip = f"{tool.text} Key {tool.key}." if tool.key else tool.text
                row = self.choice.count() - 1
                self.choice.setItemData(row, plain(tip), Qt.ItemDataRole.ToolTipRole)
            found = self.choice.findText(before)
            self.choice.setCurrentIndex(max(found, 0))
        if found < 0:
            self._show_tool()

    def choose(self, tool_id: str) -> None:
        """Choose a tool, or put it away when it is chosen already."""
        if self.tool is not None and self.tool.id == tool_id:
            self.cancel()
        else:
            ids = [tool.id for tool in self._tools]
            self.choice.setCurrentIndex(1 + ids.index(tool_id))

    def cancel(self) -> None:
        """Put the tool away; the mask stays as it is."""
        self.choice.setCurrentIndex(0)

    def refresh(self) -> None:
        """Compute the preview again, for another class is selected."""
        if self.tool is not None:
            self._later.throttle()

    def adopt_layer(self) -> None:
        """Choose to adopt the newest Labels layer that is not a mask of the panel."""
        self.fill_choice()
        last = self.choice.count() - 1
        if self.choice.itemText(last).startswith(ADOPT):
            self.choice.setCurrentIndex(last)
        else:
            self.session.say(
                "No other Labels layer to adopt: make one first, for example with "
                "nnInteractive or micro-sam."
            )

    def apply(self) -> None:
        """Write what is previewed into the mask, as one undo step."""
        tool, mask = self.tool, self.view.mask
        if tool is None or mask is None or not self.worker.has_read:
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
        changed = mask.put(result)
        self.cancel()
        self.session.say(
            f"{tool.title}: {changed} voxels changed. Ctrl+Z undoes it in one step."
            if changed
            else f"{tool.title}: nothing to change."
        )

    # -- choosing and setting --------------------------------------------------------

    def _build(self) -> None:
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setVerticalSpacing(4)
        layout.addWidget(self.choice, 0, 0, 1, 2)
        layout.addWidget(self.slider, 1, 0)
        layout.addWidget(self.amount, 1, 1)
        layout.addWidget(self.human_verified, 2, 0, 1, 2)
        layout.addWidget(self.text, 3, 0, 1, 2)
        layout.addWidget(self.apply_button, 4, 0)
        layout.addWidget(self.cancel_button, 4, 1)
        layout.setColumnStretch(0, 3)
        layout.setColumnStretch(1, 2)
        self.choice.currentIndexChanged.connect(self._show_tool)
        self.amount.valueChanged.connect(self._amount_changed)
        self.slider.valueChanged.connect(self._slider_moved)
        self.human_verified.toggled.connect(lambda _: self._later.throttle())

    def _show_tool(self, _: object = None) -> None:
        """Show what belongs to the tool, and its preview."""
        tool = self.tool
        self.worker.forget()
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
        self.slider.setVisible(amount is not None and amount.slider)
        self.amount.setVisible(amount is not None)
        self.human_verified.setVisible(tool is not None and tool.fills)
        for widget in (self.text, self.apply_button, self.cancel_button):
            widget.setVisible(tool is not None)
        self.choice.setToolTip(CHOOSE if tool is None else plain(tool.text))
        if tool is not None:
            self.text.setText(tool.text)
            self._later.throttle()

    def _slider_moved(self, position: int) -> None:
        if self.tool is not None and self.tool.amount is not None:
            self.amount.setValue(position * self.tool.amount.step)

    def _amount_changed(self, value: float) -> None:
        if self.tool is not None and self.tool.amount is not None:
            with signals_blocked(self.slider):
                self.slider.setValue(round(value / self.tool.amount.step))
            self._later.throttle()

    def _mask_changed(self, _: object = None) -> None:
        if self.worker.stale:
            self.worker.forget()
            self._later.throttle()

    # -- preview ---------------------------------------------------------------------

    def _compute(self) -> None:
        if self.tool is not None:
            human_verified = self.human_verified.isChecked()
            self.worker.start(
                self.tool, self.amount.value(), human_verified=human_verified
            )

    def _show_result(self, slices: Any, voxels: Any) -> None:
        if self.tool is not None:
            self.preview.show_slices(slices)
            self.apply_button.setEnabled(True)
            changes = "" if voxels is None else f": {self._volumes(*voxels)}"
            self.text.setText(
                f"{self.tool.text} The outline shows the result{changes}."
            )

    def _volumes(self, before: dict[int, int], after: dict[int, int]) -> str:
        """Say the volume of each structure that changes, now and then."""
        current = self.view.model.current
        if current is None:
            return ""
        words = []
        for item in current.project.labels:
            counts = [found.get(item.value, 0) for found in (before, after)]
            if counts[0] != counts[1]:
                old, new = (n * current.case.geometry.voxel_ml for n in counts)
                digits = 1 if abs(new - old) >= 0.1 else 4
                words.append(f"{item.name} {old:.{digits}f} -> {new:.{digits}f} mL")
        return ", ".join(words) or "nothing changes"

    def _show_refusal(self, reason: str) -> None:
        self.preview.clear()
        self.apply_button.setEnabled(False)
        self.text.setText(reason)
        self.session.say(reason)

    # -- other layers ----------------------------------------------------------------

    def _other_layers(self) -> list[Any]:
        return [
            layer
            for layer in self.view.viewer.layers
            if isinstance(layer, Labels) and not isinstance(layer, MaskLayer)
        ]

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
