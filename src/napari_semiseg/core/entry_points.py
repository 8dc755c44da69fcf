"""Load what other installed packages add to a registry."""

from __future__ import annotations

import warnings
from importlib.metadata import entry_points
from typing import TypeVar

T = TypeVar("T")


def installed(group: str, kind: type[T]) -> list[T]:
    """Load the objects of an entry-point group.

    What cannot be loaded, or is of another kind, is left out with a warning, so that
    a broken package does not keep the panel from opening.

    Parameters
    ----------
    group : str
        Such as ``napari_semiseg.tools``.
    kind : type
        What every entry must be an instance of.
    """
    found = []
    for entry in entry_points(group=group):
        try:
            value = entry.load()
        except (ImportError, AttributeError) as error:
            problem = str(error)
        else:
            if isinstance(value, kind):
                found.append(value)
                continue
            problem = f"expected a {kind.__name__}, found {type(value).__name__}"
        warnings.warn(
            f"entry point {entry.name!r} of {group} is left out: {problem}",
            stacklevel=2,
        )
    return found
