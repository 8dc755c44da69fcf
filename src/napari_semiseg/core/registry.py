"""Hold what people add to the package, by name, from here and from other packages."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from napari_semiseg.errors import ConfigError

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
    return [value for value in _loaded(group, kind) if isinstance(value, kind)]


def _loaded(group: str, kind: type) -> Iterator[Any]:
    for entry in entry_points(group=group):
        try:
            value = entry.load()
        except (ImportError, AttributeError, ConfigError) as error:
            problem = str(error)
        else:
            if isinstance(value, kind):
                yield value
                continue
            problem = f"expected a {kind.__name__}, found {type(value).__name__}"
        warnings.warn(
            f"entry point {entry.name!r} of {group} is left out: {problem}",
            stacklevel=2,
        )


class Registry(Generic[T]):
    """Entries of one kind by name.

    They are found on first use: modules of a package of ours, and modules that entry
    points of other packages name, add their entries when they are imported.

    Parameters
    ----------
    kind : str
        What a person calls an entry, such as "training method".
    package : str
        Of ours, whose modules add entries.
    group : str
        Entry-point group, such as "napari_semiseg.methods".
    """

    def __init__(self, kind: str, package: str, group: str) -> None:
        self._kind = kind
        self._package = package
        self._group = group
        self._entries: dict[str, T] = {}
        self._complete = False

    def add(self, name: str, entry: T) -> None:
        """Add an entry.

        Raises
        ------
        ConfigError
            Another one has this name.
        """
        if self._entries.setdefault(name, entry) is not entry:
            raise ConfigError(
                f"expected one {self._kind} called {name!r}, found two; uninstall one "
                f"of the packages that bring them"
            )

    def entries(self) -> Mapping[str, T]:
        """All entries by name."""
        if not self._complete:
            package = importlib.import_module(self._package)
            for module in pkgutil.walk_packages(package.__path__, f"{self._package}."):
                importlib.import_module(module.name)
            list(_loaded(self._group, object))
            self._complete = True
        return self._entries

    def find(self, name: str) -> T:
        """Look an entry up.

        Raises
        ------
        ConfigError
            There is none of this name; names those there are.
        """
        known = self.entries()
        if name not in known:
            article = "an" if self._kind[0] in "aeiou" else "a"
            raise ConfigError(
                f"expected {article} {self._kind} out of {', '.join(sorted(known))}, "
                f"found {name!r}"
            )
        return known[name]
