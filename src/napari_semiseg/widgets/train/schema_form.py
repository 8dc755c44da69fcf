"""A form for values that a JSON schema describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QSpinBox,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

UNSET = "automatic"
_LARGEST = 2**31 - 2

Value = bool | int | float | str


class NumberBox(QDoubleSpinBox):
    """A decimal number without trailing zeros, from 1e-9 up."""

    def __init__(self) -> None:
        super().__init__()
        self.setDecimals(9)
        self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)

    def textFromValue(self, value: float) -> str:
        """Shortest text of the value."""
        return f"{value:.6g}"


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
        self._editors: dict[str, QWidget] = {}
        self._defaults: dict[str, Value] = {}
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self.setSchema(schema or {})

    def setSchema(self, schema: Mapping[str, Any]) -> None:
        """Rebuild the form, with the defaults of another schema."""
        layout = self.layout()
        while layout.rowCount():
            layout.removeRow(0)
        self._editors, self._defaults = {}, {}
        definitions = schema.get("$defs", {})
        for name, entry in schema.get("properties", {}).items():
            described = _resolve(entry, definitions)
            editor = _editor(described)
            label = QLabel(_words(name))
            for widget in (editor, label):
                widget.setToolTip(described.get("description", ""))
            self._editors[name] = editor
            if described.get("default") is not None:
                self._defaults[name] = described["default"]
            _write(editor, described.get("default"))
            _changed(editor).connect(self._emit)
            layout.addRow(label, editor)

    def value(self) -> dict[str, Value]:
        """Values that differ from the schema's defaults."""
        current = {name: _read(editor) for name, editor in self._editors.items()}
        return {
            name: value
            for name, value in current.items()
            if value is not None and value != self._defaults.get(name, "")
        }

    def setValue(self, values: Mapping[str, Value]) -> None:
        """Show values; properties that are not named go back to their default."""
        for name, editor in self._editors.items():
            _write(editor, values.get(name, self._defaults.get(name)))

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


def _editor(entry: Mapping[str, Any]) -> QWidget:
    if "enum" in entry:
        combo = QComboBox()
        if entry["optional"]:
            combo.addItem(UNSET, None)
        for option in entry["enum"]:
            combo.addItem(str(option), option)
        return combo
    match entry.get("type"):
        case "boolean":
            return QCheckBox()
        case "integer":
            return _bounded(QSpinBox(), entry, 1)
        case "number":
            return _bounded(NumberBox(), entry, 1e-9)
    return QLineEdit()


def _bounded(box: Any, entry: Mapping[str, Any], smallest: float) -> QWidget:
    low = entry.get("minimum", entry.get("exclusiveMinimum", -_LARGEST))
    high = entry.get("maximum", entry.get("exclusiveMaximum", _LARGEST))
    low += smallest if "exclusiveMinimum" in entry else 0
    if entry["optional"]:
        low -= smallest
        box.setSpecialValueText(UNSET)
    box.setMinimum(low)
    box.setMaximum(high - (smallest if "exclusiveMaximum" in entry else 0))
    return box


def _changed(editor: Any) -> Any:
    match editor:
        case QCheckBox():
            return editor.toggled
        case QComboBox():
            return editor.currentIndexChanged
        case QLineEdit():
            return editor.textChanged
    return editor.valueChanged


def _read(editor: Any) -> Value | None:
    """Value of an editor, None where it says `UNSET`."""
    match editor:
        case QCheckBox():
            return bool(editor.isChecked())
        case QComboBox():
            return editor.currentData()  # type: ignore[no-any-return]
        case QLineEdit():
            return str(editor.text())
    if editor.specialValueText() and editor.value() == editor.minimum():
        return None
    if isinstance(editor, QSpinBox):
        return int(editor.value())
    return float(f"{editor.value():.9g}")


def _write(editor: Any, value: Any) -> None:
    match editor:
        case QCheckBox():
            editor.setChecked(bool(value))
        case QComboBox():
            editor.setCurrentIndex(editor.findData(value))
        case QLineEdit():
            editor.setText("" if value is None else str(value))
        case _:
            editor.setValue(editor.minimum() if value is None else value)


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()
