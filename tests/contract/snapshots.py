"""What the program promised once, in JSON files beside the tests.

``python -m pytest tests/contract --renew-contract`` writes them anew; a test whose
record was renewed is skipped. Read the diff as what changes for users, and say why in
the commit.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
VOLATILE = frozenset({"at", "seconds", "created", "seconds_per_step"})
"""Keys whose numbers are another every time."""
DIGITS = 4


@dataclass(frozen=True)
class Snapshots:
    """Compares what the program says with what it said; or writes it down anew."""

    renew: bool

    def keys(self, file: str) -> list[str]:
        """What a file tells of."""
        return sorted(_read(HERE / file))

    def check(self, file: str, key: str, value: Any) -> None:
        """Fail with a diff where ``value`` is not what stands under ``key``."""
        path = HERE / file
        stored = _read(path)
        if self.renew:
            assert "PYTEST_XDIST_WORKER" not in os.environ, "renew without -n"
            path.write_text(_text(stored | {key: value}) + "\n", encoding="utf-8")
            pytest.skip(f"'{key}' was written anew to {file}")
        assert key in stored, f"{file} has no '{key}'; see tests/contract/README.md"
        lines = difflib.unified_diff(
            _text(stored[key]).splitlines(),
            _text(value).splitlines(),
            f"{file}: {key}",
            "now",
            lineterm="",
            n=6,
        )
        difference = "\n".join(lines)
        assert not difference, f"\n{difference}\n\nsee tests/contract/README.md"


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)


def settled(value: Any, folder: Path) -> Any:
    """Values without what differs between machines, days and folders."""
    if isinstance(value, dict):
        return {
            settled(key, folder): "number"
            if key in VOLATILE and isinstance(inner, int | float)
            else settled(inner, folder)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [settled(inner, folder) for inner in value]
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, str):
        inside = value.replace(str(folder), "FOLDER")
        inside = inside.replace("\\", "/") if inside != value else inside
        return re.sub(r"\b\d{4}-\d\d-\d\d_", "DATE_", inside)
    return value


def shape(value: Any) -> Any:
    """Keys and types alone; the elements of a list as one.

    A ``?`` stands behind the keys that not all of them have.
    """
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_merged([shape(inner) for inner in value])] if value else []
    return "null" if value is None else type(value).__name__


def _merged(shapes: list[Any]) -> Any:
    if all(isinstance(one, dict) for one in shapes):
        keys = dict.fromkeys(key for one in shapes for key in one)
        return {
            key if all(key in one for one in shapes) else f"{key}?": _merged(
                [one[key] for one in shapes if key in one]
            )
            for key in keys
        }
    if all(isinstance(one, list) for one in shapes):
        inner = [item for one in shapes for item in one]
        return [_merged(inner)] if inner else []
    texts = {one if isinstance(one, str) else _text(one) for one in shapes}
    return " | ".join(sorted(texts))
