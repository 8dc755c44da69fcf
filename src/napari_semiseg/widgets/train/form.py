"""Edit the settings of a training, and choose the run in use."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QSpinBox,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_semiseg.core.config import (
    DEFAULT_ARCHITECTURE,
    DEFAULT_METHOD,
    DEFAULT_MINUTES,
    TrainingConfig,
)
from napari_semiseg.core.text import duration
from napari_semiseg.engine.methods.registry import unlabelled_from, weighs_entropy
from napari_semiseg.engine.networks.registry import architecture_names
from napari_semiseg.errors import ConfigError
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.elements.forms import Fold, plain, push_button, stack
from napari_semiseg.widgets.elements.style import look
from napari_semiseg.widgets.train.place import PlaceField
from napari_semiseg.widgets.train.schema_form import SchemaForm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QPaintEvent

    from napari_semiseg.engine.methods.registry import MethodSpec
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.widgets.common.session import Session
    from napari_semiseg.widgets.train.devices import DetectedDevice

PRESETS = (5, 20, 60)
"""Minutes that a button sets."""
MARGIN = 6
"""Pixels between text and arrow of a list."""


class ElidedCombo(QComboBox):
    """A list that shortens what is chosen with an ellipsis instead of cutting it."""

    def __init__(self, tip: str) -> None:
        super().__init__()
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        self.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(6)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw as the style does, with a text that fits."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        field = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox,
            option,
            QStyle.SubControl.SC_ComboBoxEditField,
            self,
        )
        option.currentText = self.fontMetrics().elidedText(
            option.currentText, Qt.TextElideMode.ElideRight, field.width() - MARGIN
        )
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def choose(self, data: object, otherwise: int = 0) -> None:
        """Choose the row of this data, or another row where there is none."""
        row = self.findData(data)
        self.setCurrentIndex(row if row >= 0 else otherwise)


def _architecture_list() -> QComboBox:
    combo = QComboBox()
    combo.addItems(architecture_names())
    combo.setCurrentText(DEFAULT_ARCHITECTURE)
    combo.setToolTip("Architecture of the network")
    return combo


class MinutesBox(QDoubleSpinBox):
    """A field that says 20 min where it holds 20.0."""

    def textFromValue(self, value: float) -> str:
        """Write a value with no more digits than it has."""
        return f"{value:g}"


class TrainingForm(QWidget):
    """Edits a `TrainingConfig`: ``value()``, ``setValue()``, ``valueChanged``."""

    valueChanged = Signal()

    def __init__(
        self, methods: Sequence[MethodSpec], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._schemas: dict[str, dict[str, Any]] = {}
        self.method = ElidedCombo("How the model learns from labelled and other scans")
        self.minutes = MinutesBox()
        self.minutes.setRange(0.1, 60 * 24 * 7)
        self.minutes.setDecimals(1)
        self.minutes.setSuffix(" min")
        self.minutes.setValue(DEFAULT_MINUTES)
        self.minutes.setAccessibleName("How long")
        self.minutes.setToolTip("How long to train; it can go on afterwards")
        self.source = ElidedCombo(
            "The last model learns the new labels sooner; from scratch forgets it"
        )
        self._follows_newest = True
        self.device = ElidedCombo("auto takes the fastest that is there")
        self.place = PlaceField()
        self.steps = QSpinBox()
        self.steps.setRange(0, 10_000_000)
        self.steps.setSpecialValueText("by minutes")
        self.steps.setToolTip("A fixed number of steps instead of minutes")
        self.seed = QSpinBox()
        self.seed.setRange(0, 2**31 - 1)
        self.seed.setToolTip("The same seed gives the same training again")
        self.architecture = _architecture_list()
        self.feature_maps = QCheckBox("Store feature maps")
        self.feature_maps.setToolTip(
            "By which corrections spread: see Refine. They take 2 to 50 MB a case"
        )
        self.feature_maps.setChecked(True)
        self.single_pieces = QCheckBox("Keep the largest piece")
        self.single_pieces.setToolTip(
            "Of structures that are one piece in every labelled scan, four or more; "
            "not where scans may show a second tumour or lesion"
        )
        self.single_pieces.setChecked(True)
        self.untrusted = QSpinBox()
        self.untrusted.setRange(0, 100)
        self.untrusted.setSuffix(" % of the labelled crops")
        self.untrusted.setSpecialValueText("not used")
        self.untrusted.setToolTip(
            "Learn from masks that another program proposed, too: less and less, and "
            "no more after two thirds of the steps"
        )
        self.params = SchemaForm()
        self._arrange()
        self.set_sources(())
        self.set_devices(())
        self.set_methods(methods)
        self.source.activated.connect(self._source_chosen)
        self.method.currentIndexChanged.connect(self._method_changed)
        self.place.valueChanged.connect(self._place_changed)
        for changed in (
            self.minutes.valueChanged,
            self.device.currentIndexChanged,
            self.steps.valueChanged,
            self.seed.valueChanged,
            self.architecture.currentIndexChanged,
            self.untrusted.valueChanged,
            self.feature_maps.toggled,
            self.single_pieces.toggled,
            self.params.valueChanged,
        ):
            changed.connect(lambda *_: self.valueChanged.emit())

    def _arrange(self) -> None:
        """Put what is asked often above what is folded away."""
        numbers = QWidget()
        inner = QFormLayout(numbers)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addRow("Method", self.method)
        inner.addRow("Begin with", self.source)
        inner.addRow("Steps", self.steps)
        inner.addRow("Seed", self.seed)
        inner.addRow("Network", self.architecture)
        inner.addRow("Proposed masks", self.untrusted)
        inner.addRow(self.feature_maps)
        inner.addRow(self.single_pieces)
        tip = "Settings that rarely need a change"
        self.advanced = Fold("More settings", tip, numbers, self.params)
        form = QFormLayout()
        form.addRow("How long", self._how_long())
        form.addRow("Run on", self.place)
        form.addRow("Device", self.device)
        inner.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        stack(self, form, self.advanced, margin=0)

    def _how_long(self) -> QHBoxLayout:
        """Put the minutes beside buttons that set usual ones."""
        row = QHBoxLayout()
        row.addWidget(self.minutes, 1)
        for minutes in PRESETS:
            words = f"{minutes} min" if minutes < 60 else "1 h"
            preset = look(push_button(words, tip=f"Train for {words}"), "doubt")
            preset.clicked.connect(partial(self.minutes.setValue, minutes))
            row.addWidget(preset)
        return row

    def set_methods(self, methods: Sequence[MethodSpec]) -> None:
        """Offer methods; the one that is chosen stays."""
        chosen = self.method.currentData() or DEFAULT_METHOD
        self._schemas = {spec.name: spec.params for spec in methods}
        with signals_blocked(self.method):
            self.method.clear()
            for row, spec in enumerate(methods):
                self.method.addItem(spec.title, spec.name)
                self.method.setItemData(
                    row, plain(f"{spec.name}: {spec.cite}"), Qt.ItemDataRole.ToolTipRole
                )
            self.method.choose(chosen)
        self._method_changed()

    @property
    def budget(self) -> str:
        """How long the training takes, in words."""
        return self._part_of_budget(1.0)

    @property
    def unlabelled_after(self) -> str | None:
        """When and if scans without a label take part; None if they never do.

        Empty where they do from the first step on.
        """
        method, params = self.method.currentData(), self.params.value()
        with suppress(ConfigError):
            part = unlabelled_from(method, params)
            if part:
                steps = self.steps.value()  # how many minutes hold is not known yet
                budget = (steps,) if steps else ()
                if_unsure = weighs_entropy(method, params, *budget)
                unsure = " if it is unsure of them" * if_unsure
                return f"{self._part_of_budget(part)}{unsure}"
            return None if part is None else ""
        return None

    def _part_of_budget(self, part: float) -> str:
        steps = self.steps.value()
        if steps:
            return f"{round(part * steps):,} steps"
        return duration(60 * part * self.minutes.value())

    def set_sources(self, runs: Sequence[Run]) -> None:
        """Offer to begin with the weights of these runs, the best first.

        The first is chosen, unless the user has chosen another, or to train from
        scratch.
        """
        chosen = self.source.currentData()
        self.source.clear()
        for position, run in enumerate(runs):
            name = "Last model" if position == 0 else "Earlier model"
            self.source.addItem(f"{name}: {run.id}", run.id)
        self.source.addItem("Nothing: train from scratch", None)
        self._choose_source(runs[0].id if runs and self._follows_newest else chosen)
        self.source.setEnabled(bool(runs))

    def set_devices(self, devices: Sequence[DetectedDevice]) -> None:
        """Offer devices beside *Automatic*; the one that is chosen stays."""
        chosen = self.device.currentData()
        self.device.clear()
        self.device.addItem("Automatic", "auto")
        for item in devices:
            memory = "" if item.memory_gb is None else f", {item.memory_gb:.0f} GB"
            self.device.addItem(f"{item.title}{memory}", item.name)
        self.device.choose(chosen)

    def value(self) -> TrainingConfig:
        """Return the training; `ConfigError` when a value is out of range."""
        steps = self.steps.value() or None
        return TrainingConfig.build(
            method=self.method.currentData() or DEFAULT_METHOD,
            params=self.params.value(),
            minutes=None if steps else self.minutes.value(),
            steps=steps,
            device=self.device.currentData(),
            seed=self.seed.value(),
            architecture=self.architecture.currentText(),
            untrusted=self.untrusted.value() / 100,
            feature_maps=self.feature_maps.isChecked(),
            single_pieces=self.single_pieces.isChecked(),
            start_from=self.source.currentData(),
        )

    def setValue(self, config: TrainingConfig) -> None:
        """Show a training; a method or device that is not offered is left out."""
        self.method.choose(config.method)
        self.device.choose(config.device)
        self.minutes.setValue(config.minutes or DEFAULT_MINUTES)
        self.steps.setValue(config.steps or 0)
        self.seed.setValue(config.seed)
        self.architecture.setCurrentText(config.architecture)
        self.untrusted.setValue(round(100 * config.untrusted))
        self.feature_maps.setChecked(config.feature_maps)
        self.single_pieces.setChecked(config.single_pieces)
        self._choose_source(config.start_from)
        self.params.setValue(config.params)

    def _choose_source(self, run_id: str | None) -> None:
        """Show a run, or *from scratch* where it is not offered."""
        scratch = self.source.count() - 1
        if run_id is None:
            self.source.setCurrentIndex(scratch)
        else:
            self.source.choose(run_id, otherwise=scratch)

    def _place_changed(self) -> None:
        """Leave the choice of a device to another computer: the list is of this one."""
        elsewhere = bool(self.place.value())
        self.device.setEnabled(not elsewhere)
        if elsewhere:
            self.device.choose("auto")
        self.valueChanged.emit()

    def _source_chosen(self, row: int) -> None:
        self._follows_newest = row == 0 and self.source.itemData(row) is not None
        self.valueChanged.emit()

    def _method_changed(self, *_: object) -> None:
        tip = self.method.currentData(Qt.ItemDataRole.ToolTipRole)
        self.method.setToolTip(tip or "")
        self.params.setSchema(self._schemas.get(self.method.currentData(), {}))
        self.valueChanged.emit()


class RunChooser(ElidedCombo):
    """Which run's predictions are shown: the newest, or a fixed one."""

    def __init__(self, session: Session) -> None:
        super().__init__("Predictions of this training are shown and reviewed")
        self._session = session
        self.activated.connect(self._chosen)
        Connections(self).add(
            self.refresh, session.project_changed, session.runs_changed
        )
        self.refresh()

    def refresh(self) -> None:
        """List the runs again, newest first."""
        project = self._session.project
        runs = [] if project is None else project.runs()[::-1]
        runs = [run for run in runs if run.is_training]
        self.clear()
        self.addItem("Newest" if runs else "No model yet", None)
        for run in runs:
            minutes = f"{run.seconds / 60:.0f} min"
            self.addItem(f"{run.id}, {run.status}, {minutes}", run.id)
        self.choose(self._session.run_id)
        self.setEnabled(bool(runs))

    def _chosen(self, index: int) -> None:
        self._session.show_run(self.itemData(index))
