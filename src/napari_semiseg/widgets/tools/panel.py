"""The tools of the review: choose one, see its outline, apply it as one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QPushButton,
    QSlider,
    QWidget,
)

from napari_semiseg.widgets.canvas.mask_layer import MaskLayer
from napari_semiseg.widgets.common import keys
from napari_semiseg.widgets.common.connections import Connections
from napari_semiseg.widgets.tools import operations
from napari_semiseg.widgets.tools.operations import BOUNDARY, TOOLS, Inputs, Tool
from napari_semiseg.widgets.tools.preview import Preview
from napari_semiseg.widgets.tools.worker import ToolWork

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.common.session import Session

WAIT_MS = 60
ADOPT = "Adopt layer: "
CHOOSE = "Changes the mask as a whole; its outline is shown before anything changes"


class ToolBox(QWidget):
    """One row until a tool is chosen; then its amount, and apply or cancel.

    Parameters
    ----------
    session : Session
        Told what happens.
    view : CaseView
        The case that is open.
    """

    def __init__(self, session: Session, view: CaseView) -> None:
        super().__init__()
        self.session = session
        self.view = view
        self.preview = Preview(view)
        self.work = ToolWork(session, view)
        self.choice = QComboBox()
        self.choice.setAccessibleName("Tool for the mask")
        self.choice.setToolTip(CHOOSE)
        self.choice.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.choice.setMinimumContentsLength(16)
        self.amount = QDoubleSpinBox()
        self.amount.setAccessibleName("Amount")
        self.amount.setToolTip("How much the tool changes")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Amount")
        self.slider.setToolTip("How much the tool changes")
        self.vouch = QCheckBox("Count what is filled in as annotated")
        self.vouch.setToolTip(
            "Otherwise it is a proposal, shown paler, until you mark slices as done "
            "or accept the whole volume"
        )
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.apply_button = _button(f"Apply ({keys.APPLY.key})", keys.APPLY.text)
        self.cancel_button = _button("Cancel", "Put the tool away; nothing changes")
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(WAIT_MS)
        self._later.timeout.connect(self._compute)
        self._build()
        self.fill_choice()
        layers = view.viewer.layers.events
        self._connected = Connections()
        self._connected.add(self.cancel, view.shown)
        self._connected.add(self._mask_changed, view.counted)
        self._connected.add(self.fill_choice, layers.inserted, layers.removed)
        self._connected.add(self._ready, self.work.ready)
        self._connected.add(self._refused, self.work.refused)

    @property
    def tool(self) -> Tool | None:
        """The tool in hand; None while none is chosen."""
        chosen = self.choice.currentData()
        return chosen if isinstance(chosen, Tool) else None

    def fill_choice(self, _: object = None) -> None:
        """List the tools, and the layers that can be adopted."""
        before = self.choice.currentText()
        self.choice.blockSignals(True)
        self.choice.clear()
        self.choice.addItem("Tools for the mask…", None)
        for tool in TOOLS:
            self.choice.addItem(tool.name, tool)
            tip = f"{tool.tip}{_key_of(tool)}"
            row = self.choice.count() - 1
            self.choice.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)
        for layer in self._other_layers():
            self.choice.addItem(f"{ADOPT}{layer.name}", self._adopter(layer))
        found = self.choice.findText(before)
        self.choice.setCurrentIndex(max(found, 0))
        self.choice.blockSignals(False)
        if found < 0:
            self._show_tool()

    def take(self, tool: Tool) -> None:
        """Take a tool in hand, or put it away when it is in hand already."""
        if self.tool is tool:
            self.cancel()
        else:
            self.choice.setCurrentIndex(self.choice.findText(tool.name))

    def cancel(self) -> None:
        """Put the tool away; the mask stays as it is."""
        if self.choice.currentIndex() != 0:
            self.choice.setCurrentIndex(0)

    def renew(self) -> None:
        """Look anew, for another structure is in hand."""
        if self.tool is not None:
            self._soon()

    def adopt_layer(self) -> None:
        """Take the newest Labels layer that is no mask of ours as the tool."""
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
        if tool is None or mask is None or not self.work.has_read:
            self.session.say("Choose a tool first.")
            return
        if self.work.stale:
            self.session.say("The mask has changed: look at the preview once more.")
            self.work.forget()
            self._compute()
            return
        result = self.work.result(tool, self.amount.value())
        if result is None:
            self.session.say("The preview is not ready yet.")
            return
        changed = mask.put(result)
        self.cancel()
        self.session.say(
            f"{tool.name}: {changed} voxels changed. Ctrl+Z undoes it in one step."
            if changed
            else f"{tool.name}: nothing to change."
        )

    def close_box(self) -> None:
        """Let go of the case; called before the dock goes."""
        self._later.stop()
        self.work.forget()
        self.preview.close()
        self._connected.close()

    # -- building --------------------------------------------------------------------

    def _build(self) -> None:
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setVerticalSpacing(4)
        layout.addWidget(self.choice, 0, 0, 1, 2)
        layout.addWidget(self.slider, 1, 0)
        layout.addWidget(self.amount, 1, 1)
        layout.addWidget(self.vouch, 2, 0, 1, 2)
        layout.addWidget(self.text, 3, 0, 1, 2)
        layout.addWidget(self.apply_button, 4, 0)
        layout.addWidget(self.cancel_button, 4, 1)
        layout.setColumnStretch(0, 3)
        layout.setColumnStretch(1, 2)
        self.choice.currentIndexChanged.connect(self._show_tool)
        self.choice.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.amount.valueChanged.connect(self._amount_changed)
        self.slider.valueChanged.connect(self._slid)
        self.vouch.toggled.connect(self._soon)
        self.apply_button.clicked.connect(self.apply)
        self.cancel_button.clicked.connect(self.cancel)

    def _show_tool(self, _: object = None) -> None:
        """Show what belongs to the tool, and its preview."""
        tool = self.tool
        self.work.forget()
        self.preview.clear()
        amount = None if tool is None else tool.amount
        if amount is not None:
            self.amount.blockSignals(True)
            self.amount.setRange(amount.low, amount.high)
            self.amount.setSingleStep(amount.step)
            self.amount.setDecimals(2 if amount.step < 1 else 0)
            self.amount.setSuffix(f" {amount.unit}")
            self.amount.setValue(amount.start)
            self.amount.blockSignals(False)
            self.slider.blockSignals(True)
            steps = (amount.low, amount.high, amount.start)
            low, high, start = (round(one / amount.step) for one in steps)
            self.slider.setRange(low, high)
            self.slider.setValue(start)
            self.slider.blockSignals(False)
        self.slider.setVisible(amount is not None and amount.slides)
        self.amount.setVisible(amount is not None)
        self.vouch.setVisible(tool is not None and tool.fills)
        self.text.setVisible(tool is not None)
        self.apply_button.setVisible(tool is not None)
        self.cancel_button.setVisible(tool is not None)
        self.choice.setToolTip(CHOOSE if tool is None else tool.tip)
        if tool is not None:
            self.text.setText(tool.tip)
            self._soon()

    def _slid(self, position: int) -> None:
        if self.tool is not None and self.tool.amount is not None:
            self.amount.setValue(position * self.tool.amount.step)

    def _amount_changed(self, value: float) -> None:
        if self.tool is not None and self.tool.amount is not None:
            self.slider.blockSignals(True)
            self.slider.setValue(round(value / self.tool.amount.step))
            self.slider.blockSignals(False)
            self._soon()

    def _soon(self, _: object = None) -> None:
        if not self._later.isActive():
            self._later.start()

    def _mask_changed(self, _: object = None) -> None:
        if self.work.stale:
            self.work.forget()
            self._soon()

    # -- preview ---------------------------------------------------------------------

    def _compute(self) -> None:
        if self.tool is not None:
            vouch = self.vouch.isChecked()
            self.work.start(self.tool, self.amount.value(), vouch=vouch)

    def _ready(self, slices: Any) -> None:
        if self.tool is not None:
            self.preview.show_slices(slices)
            self.apply_button.setEnabled(True)
            self.text.setText(f"{self.tool.tip} The outline shows the result.")

    def _refused(self, reason: str) -> None:
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
        def run(inputs: Inputs, amount: float) -> NDArray[np.uint8]:
            return operations.adopt(layer, self.view.mask, inputs)

        return Tool(
            f"{ADOPT}{layer.name}",
            "Takes the voxels of this layer where you have not annotated.",
            run,
            quick=True,
        )


def _key_of(tool: Tool) -> str:
    bound: dict[str, str] = {
        operations.BETWEEN.name: keys.BETWEEN.key,
        operations.FOLLOW.name: keys.FOLLOW.key,
        operations.ALONG.name: keys.ALONG.key,
        BOUNDARY.name: keys.BOUNDARY.key,
    }
    return f" Key {bound[tool.name]}." if tool.name in bound else ""


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
