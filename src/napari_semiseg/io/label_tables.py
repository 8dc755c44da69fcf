"""Read the classes of a project from the label tables of other programs."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_semiseg.core.labels import BACKGROUND, UNANNOTATED, LabelScheme
from napari_semiseg.errors import ConfigError

KINDS = "dataset.json, value=name lines, ITK-SNAP, Slicer .ctbl, FreeSurfer, BIDS .tsv"
LARGEST = 254

_SNAP = re.compile(r'(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+[\d.]+\s+\d+\s+\d+\s+"(.*)"')
_NAMED = re.compile(r"(\d+)\s+(\S.*?)\s+(\d+)\s+(\d+)\s+(\d+)\s+\d+")
_PLAIN = re.compile(r"(\d+)\s*[=:,\t ]\s*(.+?)\s*(#[0-9A-Fa-f]{6})?")

LabelRow = tuple[int, str, str]
"""Value, name, and ``#RRGGBB`` or nothing."""


def read_label_table(path: Path) -> LabelScheme:
    """Read values, names and colours of structures; 0 and 255 are left out.

    Known are ``dataset.json`` of nnU-Net and the Decathlon, lines as ``1=left atrium``
    or ``1 left atrium``, label descriptions of ITK-SNAP, colour tables of 3D Slicer,
    look-up tables of FreeSurfer, and ``dseg.tsv`` of BIDS.

    Raises
    ------
    ConfigError
        The file cannot be read, is none of these, or has values beyond 254.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: expected a label table, found "
            f"'{getattr(error, 'strerror', None) or error}'; check the path"
        ) from error
    special = (BACKGROUND, UNANNOTATED)
    rows = [row for row in _rows(path, text) if row[0] not in special]
    beyond = [row for row in rows if row[0] > LARGEST]
    if beyond:
        value, name, _ = beyond[0]
        raise ConfigError(
            f"{path}: expected values from 1 to {LARGEST}, found {len(beyond)} beyond, "
            f"as {value}={name}; keep the lines of the structures that you segment, "
            f"and give them smaller values"
        )
    if not rows:
        raise ConfigError(f"{path}: expected structures ({KINDS}), found none")
    try:
        return LabelScheme.parse(f"{value}={name} {rgb}" for value, name, rgb in rows)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _rows(path: Path, text: str) -> Iterator[LabelRow]:
    if text.lstrip().startswith("{"):
        yield from _of_dataset(path, text)
        return
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if lines and lines[0].lower().startswith("index\t"):
        for row in csv.DictReader(lines, delimiter="\t"):
            cells = {str(key).lower(): value or "" for key, value in row.items()}
            if not re.fullmatch(r"\d+(\.0*)?", cells["index"]):
                raise ConfigError(
                    f"{path}: expected the index of a structure as a whole number, "
                    f"found {cells['index']!r}; correct the table"
                )
            rgb = cells.get("color", "")
            valid = re.fullmatch("#[0-9A-Fa-f]{6}", rgb)
            yield (
                int(float(cells["index"])),
                cells.get("name", ""),
                rgb if valid else "",
            )
        return
    for line in lines:
        yield _of_line(path, line)


def _of_line(path: Path, line: str) -> LabelRow:
    if found := _SNAP.fullmatch(line):
        value, *rgb, name = found.groups()
    elif found := _NAMED.fullmatch(line):
        value, name, *rgb = found.groups()
        name = name.strip('"').replace("_", " ")
    elif found := _PLAIN.fullmatch(line):
        return int(found[1]), found[2], found[3] or ""
    else:
        raise ConfigError(
            f"{path}: expected a line of a label table ({KINDS}), found {line!r}"
        )
    numbers = [int(one) for one in rgb]
    if max(numbers) > 255:
        raise ConfigError(f"{path}: expected colours from 0 to 255, found {line!r}")
    red, green, blue = numbers
    return int(value), name, f"#{red:02X}{green:02X}{blue:02X}"


def _of_dataset(path: Path, text: str) -> Iterator[LabelRow]:
    """Labels of nnU-Net (name to value), or of the Decathlon (value to name)."""
    try:
        labels: dict[str, Any] = json.loads(text)["labels"]
        pairs = [
            (int(key), str(value)) if key.isdecimal() else (int(value), key)
            for key, value in labels.items()
            if key != "ignore"
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{path}: expected a dataset.json whose labels are a value each, found "
            f"{error!r}; regions of several values are not known here: list the "
            f"values themselves"
        ) from error
    for value, name in pairs:
        yield value, name, ""
