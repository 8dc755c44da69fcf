"""Named classes with stable integer values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from napari_semiseg.core.boxes import others
from napari_semiseg.core.palettes import DEFAULT, MORE, palette
from napari_semiseg.errors import ConfigError, ImageError

BACKGROUND = 0
UNANNOTATED = 255
"""Value of voxels that nobody has looked at yet; never a class."""
SIDES = {"left": "right", "l": "r", "lt": "rt", "lh": "rh"}
SIDES |= {right: left for left, right in SIDES.items()}
"""Words in the names of structures of which a body has two, mirrored."""


def free_colour(value: int, name: str = DEFAULT) -> str:
    """Colour of a palette for the class of this value, ``#RRGGBB``.

    None comes twice among the first 40.
    """
    colours = (*palette(name), *MORE)
    return colours[(value - 1) % len(colours)]


class LabelClass(BaseModel):
    """One structure to segment: its voxel value, its name and its colour."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: int = Field(ge=1, le=254)
    name: str = Field(min_length=1)
    colour: str = Field(pattern=r"^#[0-9A-Fa-f]{6}$")


class LabelScheme(BaseModel):
    """The classes of a project, by rising value; 0 is background, 255 unannotated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[LabelClass, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        values = [item.value for item in self.classes]
        names = [item.name for item in self.classes]
        if values != sorted(set(values)) or len(set(names)) != len(names):
            raise ValueError("label values and names must be distinct, values rising")
        return self

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Read classes written as ``1=left atrium`` (optionally ``#RRGGBB`` behind).

        Raises
        ------
        ConfigError
            A text is not of that form, or values or names repeat.
        """
        found: list[LabelClass] = []
        for text in texts:
            match = re.fullmatch(r"\s*(\d+)\s*=\s*(.+?)\s*(#[0-9A-Fa-f]{6})?\s*", text)
            if match is None or not 1 <= int(match[1]) <= 254:
                raise ConfigError(
                    "expected a label like '1=left atrium' with a value from 1 to 254, "
                    f"found {text!r}"
                )
            colour = match[3] or free_colour(int(match[1]))
            found.append(LabelClass(value=int(match[1]), name=match[2], colour=colour))
        found.sort(key=lambda item: item.value)
        for attribute in ("value", "name"):
            seen = [getattr(item, attribute) for item in found]
            repeated = next((item for item in seen if seen.count(item) > 1), None)
            if repeated is not None:
                raise ConfigError(f"two labels have the {attribute} {repeated!r}")
        if not found:
            raise ConfigError(
                "a project needs at least one label: give --label '1=name'"
            )
        return cls(classes=tuple(found))

    def __iter__(self) -> Iterator[LabelClass]:  # type: ignore[override]
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def __str__(self) -> str:
        return ", ".join(f"{item.value}={item.name}" for item in self)

    @property
    def values(self) -> tuple[int, ...]:
        """Voxel values of the classes, rising."""
        return tuple(item.value for item in self.classes)

    @property
    def tells_sides(self) -> bool:
        """Whether two classes are each other's mirror image: "left" and "right" one."""
        names = [tuple(re.findall(r"[^\W_]+", item.name.lower())) for item in self]
        mirrored = {tuple(SIDES.get(word, word) for word in name) for name in names}
        return any(
            name in mirrored and not SIDES.keys().isdisjoint(name) for name in names
        )

    def named(self, name: str) -> LabelClass:
        """Look a class up by its name.

        Raises
        ------
        ConfigError
            There is none of this name; names those there are.
        """
        for item in self:
            if item.name == name:
                return item
        known = ", ".join(item.name for item in self)
        raise ConfigError(f"expected a structure out of {known}, found {name!r}")

    def recoloured(self, name: str) -> LabelScheme:
        """The same classes in the colours of a palette, in their order."""
        changed = [
            item.model_copy(update={"colour": free_colour(position, name)})
            for position, item in enumerate(self, start=1)
        ]
        return LabelScheme(classes=tuple(changed))

    def check(self, labels: NDArray[np.uint8], source: str) -> None:
        """Refuse voxel values that are no class of this scheme.

        Raises
        ------
        ImageError
            With the unknown values and the known ones.
        """
        present = np.flatnonzero(voxel_counts(labels))
        known = {BACKGROUND, UNANNOTATED, *self.values}
        unknown = sorted(set(present.tolist()) - known)
        if unknown:
            raise ImageError(
                f"{source}: found label value(s) {unknown}, expected 0 (background), "
                f"{self} or 255 (not annotated); correct the mask or the project's "
                f"labels"
            )


def is_class(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each voxel is of some class: annotated, and no background."""
    inside: NDArray[np.bool_] = (labels != BACKGROUND) & (labels != UNANNOTATED)
    return inside


def voxel_counts(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number of voxels of each value: (256,).

    Plane by plane, since counting needs eight bytes a voxel.
    """
    counts = np.zeros(256, np.int64)
    for plane in labels:
        counts += plane_counts(plane)
    return counts


def plane_counts(plane: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number of voxels of each value in a part of a mask: (256,).

    Most slices of a large mask hold one value alone, which is seen at a glance.
    """
    if plane.size and plane.min() == plane.max():
        counts = np.zeros(256, np.int64)
        counts[plane.flat[0]] = plane.size
        return counts
    return np.bincount(plane.ravel(), minlength=256)


def annotated_planes(labels: NDArray[np.uint8]) -> dict[int, list[int]]:
    """Slices of which every voxel is annotated, per axis.

    Parameters
    ----------
    labels : ndarray (Z, Y, X), uint8
        255 where not annotated.

    Returns
    -------
    dict
        Axis 0, 1, 2 to rising indices.
    """
    known = labels != UNANNOTATED
    return {
        axis: np.flatnonzero(known.all(axis=others(axis))).tolist() for axis in range(3)
    }
