"""Register file formats, and find them by file name or by name.

A format is one `Format` record that its module registers. Modules of `io` and the
entry-point group ``napari_semiseg.formats`` are searched on first use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.registry import Registry
from napari_semiseg.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.core.labels import LabelClass
    from napari_semiseg.io.source import Source

DEFAULT = "nifti"


@dataclass(frozen=True, slots=True)
class Author:
    """Who drew a mask: a model by its name and version, or a person."""

    model: str | None = None
    version: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A mask together with what a file may say about it.

    Attributes
    ----------
    labels : ndarray (Z, Y, X), uint8
        Values of ``classes``, 0 for background, 255 where nobody annotated.
    geometry : Geometry
        The grid of ``image``.
    image : Path
        The image that the mask belongs to.
    classes : sequence of LabelClass
    author : Author
    """

    labels: NDArray[np.uint8]
    geometry: Geometry
    image: Path
    classes: Sequence[LabelClass] = ()
    author: Author = Author()


@dataclass(frozen=True, slots=True)
class Format:
    """How files of one kind are read and written; a missing function: it is not.

    Attributes
    ----------
    name : str
        Identifier, such as "nrrd".
    title : str
        For a person, such as "NRRD (.nrrd)".
    suffixes : tuple of str
        Lower-case endings of files that are read, the longer of a pair first.
    read : callable, optional
        (path, volume) to the checked header and the voxels on demand. ``volume``
        says which one of a file that holds several, or is None.
    recognise : callable, optional
        Whether a path holds this format, where its name does not tell.
    write : callable, optional
        (target, mask) to the files written, whole or not at all.
    endings : tuple of str
        Of ``target``, the default first.
    voxel_files : callable
        Files beside one that holds a header only: those of its voxels that are there.
    """

    name: str
    title: str
    suffixes: tuple[str, ...] = ()
    read: Callable[[Path, int | None], Source] | None = None
    recognise: Callable[[Path], bool] | None = None
    write: Callable[[Path, Mask], list[Path]] | None = None
    endings: tuple[str, ...] = ()
    voxel_files: Callable[[Path], list[Path]] = lambda path: []

    def holds(self, path: Path) -> bool:
        """Whether a file or folder is read by this format."""
        if self.recognise is not None:
            return self.recognise(path)
        return self.read is not None and path.name.lower().endswith(self.suffixes)


FORMATS: Registry[Format] = Registry(
    "file format", "napari_semiseg.io", "napari_semiseg.formats"
)
_READERS: dict[str, Format] = {}
"""Format that reads files with an ending."""


def register(entry: Format) -> Format:
    """Make a format available by its name.

    Raises
    ------
    ConfigError
        Another format has this name, or reads files with one of these endings.
    """
    for suffix in entry.suffixes:
        other = _READERS.setdefault(suffix, entry)
        if other is not entry:
            raise ConfigError(
                f"expected one format for {suffix} files, found {other.title!r} and "
                f"{entry.title!r}; uninstall one of them"
            )
    FORMATS.add(entry.name, entry)
    return entry


def image_suffixes() -> tuple[str, ...]:
    """File name endings of all formats that are read, the longer of a pair first."""
    found = (
        suffix for entry in FORMATS.entries().values() for suffix in entry.suffixes
    )
    return tuple(sorted(found, key=len, reverse=True))


def reader_of(path: Path) -> Format | None:
    """Find the format that reads a file or folder."""
    return next(
        (entry for entry in FORMATS.entries().values() if entry.holds(path)), None
    )


def writable() -> dict[str, Format]:
    """Formats of masks by name: `DEFAULT` first, those that are not read back last."""
    found = [entry for entry in FORMATS.entries().values() if entry.write is not None]
    found.sort(key=lambda one: (one.name != DEFAULT, one.read is None, one.name))
    return {entry.name: entry for entry in found}


def mask_writer(target: Path) -> Format:
    """Find the format that writes a mask under a file name and can read it back.

    Raises
    ------
    ImageError
        None does; names the endings of those that do.
    """
    known = [entry for entry in writable().values() if entry.read is not None]
    for entry in known:
        if target.name.lower().endswith(entry.endings):
            return entry
    endings = ", ".join(ending for entry in known for ending in entry.endings)
    raise ImageError(
        f"{target}: expected a file name ending in {endings}; choose one of these"
    )
