"""What people read on a terminal, and what scripts read."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_semiseg.project.review.quality_estimate import Estimate


def emit(value: dict[str, Any]) -> None:
    """Write one JSON object to stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def console(*, stderr: bool = False) -> Console:
    """Give a console on the stream of this moment."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Write a sentence."""
    console().print(text, markup=False)


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a table; columns that end in a space are set to the right."""
    shown = Table(box=None, pad_edge=False)
    for position, column in enumerate(columns):
        shown.add_column(
            column.strip(),
            justify="right" if column.endswith(" ") else "left",
            overflow="fold",
            no_wrap=position == 0,
        )
    for row in rows:
        shown.add_row(*row)
    Console(highlight=False).print(shown, markup=False)


def left_out(skipped: Mapping[str, str]) -> None:
    """Say which cases were left out, and why."""
    for name, reason in skipped.items():
        say(f"Left out {name}: {reason}")


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def estimated(estimate: Estimate | None) -> dict[str, float | None]:
    """Give the keys of an estimated Dice."""
    return {
        "estimated_dice": None if estimate is None else estimate.dice,
        "estimated_dice_error": None if estimate is None else estimate.error,
    }
