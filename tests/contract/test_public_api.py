"""Names, signatures and fields that other programs may use; nothing is run.

Annotations are told as they are written, without the modules in front of a name, so
that a class may move house.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import napari_semiseg as ss

if TYPE_CHECKING:
    from contract.snapshots import Snapshots

FILE = "public_api.json"
ENGINE = ("train", "resume")
"""Functions that cannot be had without PyTorch."""


def plain(annotation: Any) -> str:
    """An annotation or a default value without modules and addresses."""
    text = annotation if isinstance(annotation, str) else repr(annotation)
    if isinstance(annotation, type):
        text = annotation.__name__
    elif inspect.isroutine(annotation):
        text = "function"
    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Z])", "", text)


def signature(function: Any) -> str:
    """Parameters and result on a line."""
    found, parts, starred = inspect.signature(function), [], False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred |= parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        text = stars.get(parameter.kind, "") + parameter.name
        if parameter.annotation is not parameter.empty:
            text += f": {plain(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            text += f" = {plain(parameter.default)}"
        parts.append(text)
    result = found.return_annotation
    said = "" if result is found.empty else f" -> {plain(result)}"
    return f"({', '.join(parts)}){said}"


def own(kind: type) -> list[type]:
    """The class and its bases in this package, the deepest first."""
    return [
        base for base in kind.__mro__[::-1] if base.__module__.startswith(ss.__name__)
    ]


def fields_of(kind: type) -> dict[str, str]:
    """Fields of a pydantic model or a dataclass with type and default."""
    annotations: dict[str, Any] = {}
    for base in own(kind):
        annotations |= inspect.get_annotations(base)
    defaults: dict[str, str] = {}
    if is_dataclass(kind):
        for field in fields(kind):
            made = field.default_factory is not MISSING
            if made or field.default is not MISSING:
                default = field.default_factory if made else field.default
                defaults[field.name] = f" = {plain(default)}{'()' if made else ''}"
    for name, info in getattr(kind, "model_fields", {}).items():
        if not info.is_required():
            made = info.default_factory is not None
            default = info.default_factory if made else info.default
            defaults[name] = f" = {plain(default)}{'()' if made else ''}"
    return {
        name: f"{plain(annotation)}{defaults.get(name, '')}"
        for name, annotation in annotations.items()
        if not name.startswith("_") and name != "model_config"
    }


def member(value: Any) -> str | None:
    """A method or a property on a line; None for anything else."""
    if isinstance(value, property):
        assert value.fget is not None
        result = inspect.signature(value.fget).return_annotation
        return f"property -> {plain(result)}"
    if isinstance(value, classmethod | staticmethod):
        return f"{type(value).__name__} {signature(value.__func__)}"
    if inspect.isfunction(value):
        return signature(value)
    if inspect.isfunction(getter := getattr(type(value), "__get__", None)):
        return f"property -> {plain(inspect.signature(getter).return_annotation)}"
    return None


def class_of(kind: type) -> dict[str, Any]:
    """All that is public of a class."""
    told: dict[str, Any] = {
        "bases": [base.__name__ for base in kind.__bases__ if base.__name__[0] != "_"],
        "fields": fields_of(kind),
    }
    if issubclass(kind, Enum):
        told["fields"] = {item.name: item.value for item in kind}
    members: dict[str, str] = {}
    for base in own(kind):
        for name, value in vars(base).items():
            known = name in ("__init__", "__iter__", "__len__", "__eq__", "__hash__")
            if name.startswith("_") and not known:
                continue
            said = member(value)
            if said is not None and not said.startswith("(__"):
                members[name] = said
    if is_dataclass(kind) or hasattr(kind, "model_fields") or issubclass(kind, Enum):
        members = {name: said for name, said in members.items() if name[:2] != "__"}
    return told | {"members": members}


def attributes(value: Any) -> dict[str, str]:
    """What is public of an object but not of its class."""
    found = {
        name: "Path" if isinstance(one, Path) else type(one).__name__
        for name, one in getattr(value, "__dict__", {}).items()
        if not name.startswith("_")
    }
    return {} if hasattr(type(value), "model_fields") or is_dataclass(value) else found


def told(value: Any) -> Any:
    """What is public of a name of the package."""
    if inspect.ismodule(value):
        return {
            name: told(one)
            for name, one in vars(value).items()
            if not name.startswith("_")
            and getattr(one, "__module__", None) == value.__name__
        }
    if inspect.isclass(value):
        return class_of(value)
    return signature(value) if callable(value) else type(value).__name__


def test_names_signatures_and_fields(snapshots: Snapshots) -> None:
    names = [name for name in ss.__all__ if name not in ENGINE]
    found = {name: told(getattr(ss, name)) for name in names}
    snapshots.check(FILE, "names", found | dict.fromkeys(ENGINE, "engine"))


@pytest.mark.engine
def test_signatures_of_the_engine(snapshots: Snapshots) -> None:
    found = {name: told(getattr(ss, name)) for name in ENGINE}
    snapshots.check(FILE, "engine", found)


def test_what_the_functions_give_back(
    snapshots: Snapshots, reviewed: ss.Project
) -> None:
    """Classes that nobody imports, but everybody gets."""
    project, folder = reviewed, reviewed.folder.parent
    run = project.runs()[0]
    case = project.case("case_0")
    report = project.add(folder / "images")
    scores = ss.evaluate(project, folder / "masks", run=run)
    advice = ss.suggest(project, 2)
    results = {
        "Project": project,
        "Run": run,
        "Project.add": report,
        "Project.labels[]": next(iter(project.labels)),
        "Project.export": project.export(folder / "out"),
        "Project.layout": project.layout,
        "accept": ss.accept(project, ["case_6"]),
        "reopen": ss.reopen(project, ["case_6"]),
        "check_project": ss.check_project(project.folder),
        "evaluate": scores,
        "evaluate().cases[][]": scores.cases["case_0"]["left atrium"],
        "suggest": advice,
        "suggest().volumes[]": advice.volumes[0],
        "suggest().slices[]": advice.slices[0],
        "Case.folder": case.folder,
        "Case.channels[]": case.channels[0],
        "Case.read_image": case.read_image(),
        "Case.record": case.record,
        "Case.record.history[]": case.record.history[0],
        "Run.folder": run.folder,
        "Run.config": run.config,
        "Prediction.record": run.prediction_record("case_0"),
        "Prediction.record.score": run.prediction_record("case_0").score,
    }
    public = {name: class_of(type(result)) for name, result in results.items()}
    for name, result in results.items():
        public[name]["class"] = type(result).__name__
        if found := attributes(result):
            public[name]["attributes"] = found
    snapshots.check(FILE, "results", public)
