"""Write what people read on a terminal, and what scripts read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from napari_semiseg.core.text import printable

if TYPE_CHECKING:
    from rich.text import Text

    from napari_semiseg.active_learning.suggest import SliceSuggestion
    from napari_semiseg.project.review.quality_estimate import Estimate

NOTHING = ("", "-")


def emit(value: Mapping[str, Any]) -> None:
    """Write one JSON object to stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


class PlainConsole(Console):
    """A console on which no text, such as a file's name, is a command."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a text to print from a string."""
        lines = map(printable, text.split("\n"))
        return super().render_str("\n".join(lines), **options)


def console(*, stderr: bool = False) -> Console:
    """Make a console on the current stdout or stderr."""
    return PlainConsole(stderr=stderr, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Write a sentence."""
    console().print(text, markup=False)


def answer(value: Mapping[str, Any], *sentences: str, as_json: bool) -> None:
    """Write either a JSON object or sentences."""
    if as_json:
        emit(value)
        return
    for sentence in sentences:
        say(sentence)


def table(rows: Iterable[Mapping[str, str]]) -> None:
    """Write a table with the keys as heads; those that end in a space align right.

    A column without anything in it is left out, so that the others have room.
    """
    shown, cells = Table(box=None, pad_edge=False), list(rows)
    heads = [
        head
        for position, head in enumerate(cells[0] if cells else ())
        if position == 0 or any(row[head] not in NOTHING for row in cells)
    ]
    for head in heads:
        shown.add_column(
            head.strip(),
            justify="right" if head.endswith(" ") else "left",
            overflow="fold",
            no_wrap=head == heads[0],
        )
    for row in cells:
        shown.add_row(*(row[head] for head in heads))
    PlainConsole(highlight=False).print(shown, markup=False)


def slices(found: Iterable[SliceSuggestion]) -> None:
    """Print suggested slices, one a row, counted from 1."""
    from napari_semiseg.imaging.rendering import PLANES

    table(
        {
            "slice of": item.case,
            "plane": PLANES[item.axis],
            "slice ": str(item.index + 1),
            "score ": f"{item.score:.3f}",
            "reason": item.reason,
        }
        for item in found
    )


def left_out(skipped: Mapping[str, str]) -> list[str]:
    """Sentences on which cases were left out, and why."""
    return [f"Left out {name}: {reason}" for name, reason in skipped.items()]


def estimated(estimate: Estimate | None) -> dict[str, float | None]:
    """Give the JSON keys of an estimated Dice; the error is half the interval."""
    low, dice, high = (
        (None, None, None)
        if estimate is None
        else (estimate.low, estimate.dice, estimate.high)
    )
    error = None if low is None or high is None else (high - low) / 2
    return {
        "estimated_dice": dice,
        "estimated_dice_error": error,
        "estimated_dice_low": low,
        "estimated_dice_high": high,
    }
