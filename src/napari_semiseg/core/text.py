"""Format numbers, times and lists for people."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from importlib import metadata
from itertools import takewhile

_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of writing."""


def count(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 case``, ``2 cases``, ``1,000 cases``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def with_version(package: str) -> str:
    """Name an installed package and its version: ``SimpleITK 2.5.0``."""
    return f"{package} {metadata.version(package)}"


def duration(seconds: float) -> str:
    """Write a time in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def millilitres(value: float, change: float = 0.0) -> str:
    """Write mL with one digit behind the point; with more where they are few.

    The volume, or its ``change`` where one is given, has two digits at least.
    """
    small = abs(change or value) or 1.0
    digits = 1 if small >= 1 else min(9, 1 - math.floor(math.log10(small)))
    return f"{value:.{digits}f}"


def printable(text: str) -> str:
    """Replace what commands a terminal or turns the direction of writing.

    Names come from files: an escape sequence in one could set a window's title, or
    hide what follows.
    """
    return "".join(
        "\ufffd" if unicodedata.category(one) in ("Cc", "Cs") or one in _TURNS else one
        for one in text
    )


def as_sentence(text: str) -> str:
    """Begin a message with a capital letter, as a sentence of the panel does."""
    return text[:1].upper() + text[1:]


def number(value: float | None, form: str = ".3f") -> str:
    """Write a number, or a dash where there is none."""
    return "-" if value is None else f"{value:{form}}"


def markdown_table(heads: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Write a table in Markdown."""

    def line(cells: Iterable[str]) -> str:
        safe = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        return f"| {' | '.join(safe)} |"

    return "\n".join(map(line, (heads, ["---"] * len(heads), *rows)))


def listed(names: Sequence[str], most: int = 5) -> str:
    """Write names as words, only the first few of many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def shared_ends(names: Sequence[str]) -> tuple[int, int]:
    """Count the letters that all names begin and end with, without parts of numbers.

    Of ``sub-01_T1w`` and ``sub-12_T1w`` these are 4 (``sub-``) and 4 (``_T1w``). They
    do not overlap, and are (0, 0) for fewer than two different names.
    """
    if len(set(names)) < 2:
        return 0, 0
    start = _shared_start(names)
    return start, _shared_start([name[start:][::-1] for name in names])


def _shared_start(names: Sequence[str]) -> int:
    columns = takewhile(
        lambda letters: len(set(letters)) == 1, zip(*names, strict=False)
    )
    return len("".join(column[0] for column in columns).rstrip("0123456789"))


def ranged(value: float, low: float, high: float) -> str:
    """Write a Dice with the range that it probably lies in: ``0.86 (0.79–0.91)``."""
    return f"{value:.2f} ({low:.2f}\u2013{high:.2f})"


def percent(part: float) -> str:
    """Write a part of 1; what is begun is not 0 %, what is not whole not 100 %."""
    rounded = round(100 * part)
    if 0 < part < 1 and rounded in (0, 100):
        return "<1 %" if rounded == 0 else ">99 %"
    return f"{rounded} %"
