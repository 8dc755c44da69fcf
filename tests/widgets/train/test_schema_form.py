from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field
from qtpy.QtWidgets import QCheckBox, QComboBox, QLineEdit, QSpinBox

from napari_semiseg.widgets.train.schema_form import NumberBox, SchemaForm

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


class Mode(StrEnum):
    FAST = "fast"
    EXACT = "exact"


class Params(BaseModel):
    weight: float = Field(default=0.1, gt=0, le=1, description="of the second term")
    passes: int = Field(default=4, ge=1, le=16)
    sharpen: bool = False
    mode: Mode = Mode.FAST
    kind: Literal["a", "b"] = "b"
    limit: int | None = None
    note: str = ""


def made(qtbot: QtBot) -> SchemaForm:
    form = SchemaForm(Params.model_json_schema())
    qtbot.addWidget(form)
    return form


def editor(form: SchemaForm, name: str) -> Any:
    return form._editors[name].widget


def test_each_kind_of_value_gets_its_editor(qtbot: QtBot) -> None:
    form = made(qtbot)
    kinds = {name: type(editor(form, name)) for name in Params.model_fields}
    assert kinds == {
        "weight": NumberBox,
        "passes": QSpinBox,
        "sharpen": QCheckBox,
        "mode": QComboBox,
        "kind": QComboBox,
        "limit": QSpinBox,
        "note": QLineEdit,
    }


def test_bounds_are_those_of_the_schema(qtbot: QtBot) -> None:
    form = made(qtbot)
    weight, passes = editor(form, "weight"), editor(form, "passes")
    assert 0 < weight.minimum() < 1e-6
    assert weight.maximum() == 1
    assert (passes.minimum(), passes.maximum()) == (1, 16)


def test_untouched_values_are_left_to_the_method(qtbot: QtBot) -> None:
    assert made(qtbot).value() == {}


def test_values_make_the_round_trip_and_are_valid(qtbot: QtBot) -> None:
    form = made(qtbot)
    wanted = {"weight": 0.25, "passes": 7, "sharpen": True, "mode": "exact"}
    form.setValue(wanted)
    assert form.value() == wanted
    assert Params(**form.value()).passes == 7
    form.setValue({})
    assert form.value() == {}


def test_a_change_is_signalled(qtbot: QtBot) -> None:
    form = made(qtbot)
    with qtbot.waitSignal(form.valueChanged) as changed:
        editor(form, "passes").setValue(9)
    assert changed.args == [{"passes": 9}]


def test_another_schema_replaces_the_form(qtbot: QtBot) -> None:
    form = made(qtbot)
    form.setSchema({"properties": {"other": {"type": "boolean", "default": True}}})
    assert list(form._editors) == ["other"]
    form.setSchema({})
    assert form.value() == {}


def test_decimals_are_written_short(qtbot: QtBot) -> None:
    box = NumberBox()
    qtbot.addWidget(box)
    box.setValue(0.001)
    assert box.text() == "0.001"
