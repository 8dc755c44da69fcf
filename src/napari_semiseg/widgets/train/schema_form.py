"""Edit values that a JSON schema describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLineEdit,
    QSpinBox,
    QWidget,
)

from napari_semiseg.widgets.elements.forms import plain, plain_label

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UNSET = "automatic"
_LARGEST = 2**31 - 2
_SMALLEST = 1e-9

Value = bool | int | float | str


class NumberBox(QDoubleSpinBox):
    """A decimal number without trailing zeros, from 1e-9 up."""

    def __init__(self) -> None:
        super().__init__()
        self.setDecimals(9)
        self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)

    def textFromValue(self, value: float) -> str:
        """Return the shortest text of the value."""
        return f"{value:.6g}"


@dataclass(frozen=True, slots=True)
class Editor:
    """A widget for one value, and how to read and write it; None is `UNSET`."""

    widget: QWidget
    changed: Any
    read: Callable[[], Value | None]
    write: Callable[[Any], object]


class SchemaForm(QWidget):
    """Edits the properties of a JSON schema of an object.

    Booleans become a check box, numbers a spin box with their bounds, enumerations
    a list, everything else a line of text. ``value()``, ``setValue()`` and
    ``valueChanged`` work on a dict by property name.
    """

    valueChanged = Signal(dict)

    def __init__(
        self, schema: Mapping[str, Any] | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._editors: dict[str, Editor] = {}
        self._defaults: dict[str, Value] = {}
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        policy = QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow
        self._form.setFieldGrowthPolicy(policy)
        self._form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self.setSchema(schema or {})

    def setSchema(self, schema: Mapping[str, Any]) -> None:
        """Rebuild the form, with the defaults of another schema."""
        while self._form.rowCount():
            self._form.removeRow(0)
        self._editors, self._defaults = {}, {}
        definitions = schema.get("$defs", {})
        for name, entry in schema.get("properties", {}).items():
            described = _resolve(entry, definitions)
            default = described.get("default")
            editor = _editor(described)
            label = plain_label(name.replace("_", " ").capitalize())
            editor.widget.setAccessibleName(label.text())
            for widget in (editor.widget, label):
                widget.setToolTip(plain(described.get("description", "")))
            self._editors[name] = editor
            if default is not None:
                self._defaults[name] = default
            editor.write(default)
            editor.changed.connect(self._emit)
            self._form.addRow(label, editor.widget)

    def value(self) -> dict[str, Value]:
        """Return the values that differ from the schema's defaults."""
        current = {name: editor.read() for name, editor in self._editors.items()}
        return {
            name: value
            for name, value in current.items()
            if value is not None and value != self._defaults.get(name, "")
        }

    def setValue(self, values: Mapping[str, Value]) -> None:
        """Show values; properties that are not named go back to their default."""
        for name, editor in self._editors.items():
            editor.write(values.get(name, self._defaults.get(name)))

    def _emit(self, *_: object) -> None:
        self.valueChanged.emit(self.value())


def _resolve(
    entry: Mapping[str, Any], definitions: Mapping[str, Any]
) -> dict[str, Any]:
    """Follow a reference, and take the first real type of an optional value."""
    merged = dict(entry)
    options = [*merged.pop("allOf", []), *merged.pop("anyOf", [])]
    real = [option for option in options if option.get("type") != "null"]
    merged["optional"] = len(real) < len(options)
    for part in [*real[:1], {"$ref": merged.pop("$ref", None)}]:
        name = (part.get("$ref") or "").rpartition("/")[2]
        merged = {**part, **definitions.get(name, {}), **merged}
    return merged


def _editor(entry: Mapping[str, Any]) -> Editor:
    if "enum" in entry:
        return _choice(entry)
    match entry.get("type"):
        case "boolean":
            box = QCheckBox()
            return Editor(
                box,
                box.toggled,
                box.isChecked,
                lambda value: box.setChecked(bool(value)),
            )
        case "integer":
            return _number(QSpinBox(), entry, 1, int)
        case "number":
            return _number(
                NumberBox(), entry, _SMALLEST, lambda value: float(f"{value:.9g}")
            )
    line = QLineEdit()
    return Editor(
        line,
        line.textChanged,
        line.text,
        lambda value: line.setText("" if value is None else str(value)),
    )


def _choice(entry: Mapping[str, Any]) -> Editor:
    combo = QComboBox()
    if entry["optional"]:
        combo.addItem(UNSET, None)
    for option in entry["enum"]:
        combo.addItem(str(option), option)
    return Editor(
        combo,
        combo.currentIndexChanged,
        combo.currentData,
        lambda value: combo.setCurrentIndex(combo.findData(value)),
    )


def _number(
    box: Any, entry: Mapping[str, Any], smallest: float, as_type: Callable[[Any], Value]
) -> Editor:
    low = entry.get("minimum", entry.get("exclusiveMinimum", -_LARGEST))
    high = entry.get("maximum", entry.get("exclusiveMaximum", _LARGEST))
    low += smallest if "exclusiveMinimum" in entry else 0
    if entry["optional"]:
        low -= smallest
        box.setSpecialValueText(UNSET)
    box.setMinimum(low)
    box.setMaximum(high - (smallest if "exclusiveMaximum" in entry else 0))

    def read() -> Value | None:
        unset = entry["optional"] and box.value() == box.minimum()
        return None if unset else as_type(box.value())

    def write(value: Any) -> None:
        box.setValue(box.minimum() if value is None else value)

    return Editor(box, box.valueChanged, read, write)
