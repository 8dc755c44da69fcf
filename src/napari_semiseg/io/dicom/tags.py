"""Read DICOM tags through pydicom."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.errors import ImageError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_BARE_STARTS = (b"\x02\x00", b"\x08\x00")
"""First group of a file that has no preamble, little endian."""
_MOST_INFLATED = 2**30
"""Bytes that a deflated file may hold."""


@contextmanager
def discreet() -> Iterator[None]:
    """Suppress warnings: they quote tags, such as a patient's name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def malformed() -> tuple[type[Exception], ...]:
    """Exceptions that pydicom raises on damaged files, and on reading their tags."""
    from pydicom import errors

    return (
        OSError,
        EOFError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        ArithmeticError,
        MemoryError,
        RecursionError,
        NotImplementedError,
        struct.error,
        zlib.error,
        errors.InvalidDicomError,
        errors.BytesLengthException,
    )


@contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Turn what pydicom raises on a damaged file into one line.

    Raises
    ------
    ImageError
        The file is torn or no DICOM.
    """
    with discreet():
        try:
            yield
        except malformed() as error:
            large = isinstance(error, MemoryError)
            found = "a length beyond its end" if large else type(error).__name__
            raise ImageError(
                f"{path}: expected a whole DICOM file, found '{found}'; copy or export "
                f"it again"
            ) from error


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, with the preamble of DICOM PS3.10 or without."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            return False
        with path.open("rb") as stream:
            head = stream.read(132)
    except OSError:
        return False
    if head[128:] == b"DICM":
        return True
    if not head.startswith(_BARE_STARTS):
        return False
    try:
        return "SOPClassUID" in read_dataset(path, "SOPClassUID")
    except ImageError:
        return False


def read_dataset(path: Path, *tags: str) -> FileDataset:
    """Read all of a DICOM file but its voxels, or only some tags.

    Raises
    ------
    ImageError
        The file is torn or no DICOM.
    """
    import pydicom

    with parsing(path), _DeflatedFile(io.FileIO(path)) as file:
        return pydicom.dcmread(
            file,
            stop_before_pixels=True,
            specific_tags=list(tags) or None,
            force=True,
        )


class _DeflatedFile(io.BufferedReader):
    """Refuse to give out the rest of a file that pydicom would inflate beyond bounds.

    Pydicom reads a file by the length of its elements, but a deflated one to its end.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        if size is None or size < 0:
            packed, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
            left = content
            while left:
                inflated += len(packed.decompress(left, 2**24))
                left = packed.unconsumed_tail
                if inflated > _MOST_INFLATED:
                    raise ImageError(
                        f"{self.name!s}: expected a deflated DICOM file of at most "
                        f"{_MOST_INFLATED >> 30} GiB, found a larger one; export it "
                        f"without compression"
                    )
        return content
