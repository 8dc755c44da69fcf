"""Bring a project of format 1 to format 2, file by file.

Each file is replaced atomically and ``project.toml`` comes last, so that a migration
that was interrupted goes on when it is started again. Nothing is lost: values that have
no field in format 2 become ``remarks`` of their entry.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import tomlkit
from pydantic import BaseModel, ValidationError

from napari_semiseg.core.config import describe
from napari_semiseg.core.plan import Plan
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import read_json, write_json, write_text
from napari_semiseg.project.cases.channels import UNNAMED
from napari_semiseg.project.cases.history import Added, HistoryEntry, Remarked
from napari_semiseg.project.cases.record import CaseRecord
from napari_semiseg.project.settings import FORMAT, read_format

if TYPE_CHECKING:
    from napari_semiseg.project.layout import Layout

ENTRIES: dict[str, type[BaseModel]] = {
    kind.model_fields["action"].default: kind
    for kind in get_args(get_args(HistoryEntry)[0])
}


def outdated_files(layout: Layout) -> list[Path]:
    """Files of a project that are of format 1, in the order of their migration.

    What cannot be read is left out.
    """
    cases = sorted(layout.cases.glob("*/case.json"))
    plans = sorted(layout.runs.glob("*/plan.json"))
    found = [path for path in cases if _holds(path, lambda v: v.get("format") == 1)]
    found += [path for path in plans if _holds(path, lambda v: "intensity" in v)]
    if read_format(layout.project_file) < FORMAT:
        found.append(layout.project_file)
    return found


def _holds(path: Path, condition: Callable[[dict[str, Any]], bool]) -> bool:
    try:
        values = read_json(path)
    except ProjectError:
        return False
    return isinstance(values, dict) and condition(values)


def migrate_file(path: Path) -> None:
    """Replace a file of format 1 by one of format 2.

    Parameters
    ----------
    path : Path
        From `outdated_files`.

    Raises
    ------
    ProjectError
        The file cannot be converted or written; it is as it was.
    """
    if path.name == "project.toml":
        document = tomlkit.parse(path.read_text(encoding="utf-8"))
        if "format" in document:
            document["format"] = FORMAT
            write_text(path, tomlkit.dumps(document))
        else:
            write_text(path, f"format = {FORMAT}\n{tomlkit.dumps(document)}")
        return
    convert = _record if path.name == "case.json" else _plan
    try:
        write_json(path, convert(read_json(path)))
    except ValidationError as error:
        raise ProjectError(f"{describe(error, str(path))}; correct it") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProjectError(
            f"{path}: expected a file of format 1, found {error!r}; restore it from a "
            "backup"
        ) from error


def _record(values: dict[str, Any]) -> dict[str, Any]:
    image = {"image": values.pop("image"), "sha256": values.pop("sha256")}
    values["channels"] = values.get("channels") or [{"name": UNNAMED, **image}]
    for channel in values["channels"]:
        channel["name"] = channel["name"] or UNNAMED
    values["history"] = [_entry(entry) for entry in values.get("history", ())]
    return CaseRecord.model_validate(values | {"format": FORMAT}).dump()


def _entry(values: dict[str, Any]) -> dict[str, Any]:
    """Entry of a history with its details as fields."""
    values = dict(values)
    details = dict(values.pop("details", None) or {})
    kind = ENTRIES.get(values["action"], Remarked)
    if kind is Remarked:
        details["action"] = values["action"]
        values["action"] = "remark"
    file = {key: details.pop(key) for key in ("size", "mtime_ns") if key in details}
    if kind is Added and file:
        details["files"] = [file, *details.pop("channels", ())]
    elif file:
        details["file"] = file
    fields = kind.model_fields.keys() - Remarked.model_fields.keys()
    known = {key: details.pop(key) for key in fields & details.keys()}
    known = {key: value for key, value in known.items() if value is not None}
    return values | known | ({"remarks": details} if details else {})


def _plan(values: dict[str, Any]) -> dict[str, Any]:
    first = {
        "kind": values.pop("intensity"),
        "cut": values.pop("intensity_range"),
        "mean_std": values.pop("intensity_mean_std"),
    }
    values["intensities"] = [first, *values.pop("further_intensities", ())]
    values["channels"] = values.get("channels") or [UNNAMED]
    return Plan.model_validate(values).model_dump(mode="json")
