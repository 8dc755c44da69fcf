"""Cases on the working grid, in memory-mapped files that are made once.

A file's name holds a hash of everything that it was made from (image, label,
plan), so that it never goes stale, and deleting the folder costs only time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.cancellation import NEVER
from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.labels import UNANNOTATED, annotated_planes
from napari_semiseg.engine.data.appearance import quantiles
from napari_semiseg.engine.data.sparse_distance import working_distance_intervals
from napari_semiseg.errors import ProjectError
from napari_semiseg.imaging.intensities import normalise
from napari_semiseg.imaging.resampling import (
    Shape,
    axis_weights,
    joined,
    resample,
    working_shape,
)
from napari_semiseg.io.atomic import atomic_path
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases.channels import describe_channels, same_channels
from napari_semiseg.project.cases.label_changes import LabelWatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_semiseg.core.cancellation import CancellationToken
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.core.plan import Plan
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project

CACHE_VERSION = 6
CENTRES = 8_192
"""Voxels per class that are remembered as centres of crops."""
OPEN = 128
"""Files that are open at once, since some systems let a process open 256."""


@dataclass(frozen=True, slots=True)
class PreparedCohort:
    """The cases a training may use; test cases are never among them.

    A partly annotated case is in both streams: its annotated voxels are labels, the
    others are unlabelled data. A prediction that was accepted unseen teaches nothing:
    its case is unlabelled here, and never scores a model. ``watch`` notices what
    changes from here on.
    """

    labelled: tuple[Case, ...]
    unlabelled: tuple[Case, ...]
    validation: tuple[Case, ...]
    watch: LabelWatcher

    @property
    def without_annotation(self) -> tuple[Case, ...]:
        """Unlabelled cases of which nothing is annotated."""
        known = {case.id for case in self.labelled}
        return tuple(case for case in self.unlabelled if case.id not in known)

    @property
    def training(self) -> tuple[Case, ...]:
        """Labelled and unlabelled cases, each once."""
        return (*self.labelled, *self.without_annotation)


def select(project: Project) -> PreparedCohort:
    """Sort a project's cases into streams.

    Raises
    ------
    ProjectError
        The project is empty, or no training case has a label.
    """
    watch = LabelWatcher(project.layout)
    cases = project.cases()
    if not cases:
        raise ProjectError(
            f"project {project.name!r} has no cases; add images with 'semiseg add'"
        )
    usable = [case for case in cases if case.state is not CaseState.EXCLUDED]
    train = [case for case in usable if case.split is Split.TRAIN]
    labelled = tuple(case for case in train if case.human_verified)
    if not labelled:
        raise ProjectError(
            f"none of the {len(train)} training cases has a label; label at least one "
            f"in napari or attach masks with 'semiseg label'"
        )
    return PreparedCohort(
        labelled=labelled,
        unlabelled=tuple(
            case
            for case in train
            if case.state is not CaseState.LABELLED or case.accepted_unseen
        ),
        validation=tuple(
            case
            for case in usable
            if case.split is Split.VALIDATION and case.human_verified
        ),
        watch=watch,
    )


@dataclass(frozen=True)
class Prepared:
    """One case on the working grid.

    Attributes
    ----------
    arrays : mapping
        ``image``; with a label ``target`` and ``low``, and where that is not complete
        ``high``.
    version : str
        SHA-256 of the label file; empty where there is no label.
    proposed : bool
        Whether that is no label but a mask that another program proposed.
    """

    id: str
    arrays: Mapping[str, NDArray[Any]]
    version: str = ""
    proposed: bool = False

    @property
    def image(self) -> NDArray[np.float16]:
        """Normalised grey values (K, Z, Y, X), a channel each."""
        return self.arrays["image"]

    @property
    def target(self) -> NDArray[np.uint8] | None:
        """Class indices (Z, Y, X); 255 where not annotated."""
        return self.arrays.get("target")

    @property
    def intervals(self) -> list[NDArray[np.float16]]:
        """Bounds (C, Z, Y, X) of the signed distance, one where both are the same."""
        return [self.arrays[name] for name in ("low", "high") if name in self.arrays]

    @property
    def whole(self) -> bool:
        """Whether every voxel is annotated."""
        return "target" in self.arrays and "high" not in self.arrays

    def comes_near(self, index: int) -> bool:
        """Whether a voxel of a class is annotated, if only smaller than a working one.

        Then some distance to the class is shorter than the longest that is known.
        """
        return bool((self.intervals[-1][index] < 1).any())

    @cached_property
    def quantiles(self) -> NDArray[np.float32]:
        """How bright its parts are, see `appearance.quantiles`."""
        return quantiles(self.image)

    @cached_property
    def planes(self) -> tuple[NDArray[np.uint8], ...]:
        """Slices across z, y and x that are annotated whole: 1, 2 and 4 there."""
        if self.target is None:
            return ()
        bits = [np.zeros(size, np.uint8) for size in self.target.shape]
        for axis, slices in enumerate(annotated_planes(self.target).values()):
            bits[axis][slices] = 1 << axis
        return tuple(bits)

    @cached_property
    def centres(self) -> tuple[NDArray[np.int32], ...]:
        """Annotated voxels per class as flat indices, at most `CENTRES` of each."""
        if self.target is None:
            return ()
        flat = np.asarray(self.target).ravel()
        groups = []
        for index in np.unique(flat[flat != UNANNOTATED]):
            voxels = np.flatnonzero(flat == index)
            few = voxels[:: max(1, voxels.size // CENTRES)]
            groups.append(few.astype(np.int32))  # a view would keep all of them
        return tuple(groups)

    @cached_property
    def foreground(self) -> tuple[NDArray[np.int32], ...]:
        """Those of the foreground classes; of any class where there is none."""
        if self.target is None:
            return ()
        present = np.unique(self.target)
        return (
            self.centres[1:]
            if present[0] == 0 and len(self.centres) > 1
            else self.centres
        )


def working_images(
    case: Case, shape: Shape, plan: Plan, cancellation: CancellationToken = NEVER
) -> NDArray[np.float32]:
    """Read normalised channels (K, Z, Y, X) on the working grid, float32.

    ``cancellation`` is checked between the parts of this work.

    Raises
    ------
    SemisegError
        The case has other channels than the plan, or an image cannot be read.
    """
    if not same_channels(case.channel_names, plan.channels):
        raise ProjectError(
            f"case '{case.id}': expected {describe_channels(plan.channels)}, as the "
            f"model was trained on, found {describe_channels(case.channel_names)}; add "
            f"the case again with these"
        )
    parts = []
    for index, how in enumerate(plan.intensities):
        cancellation.check()
        voxels = case.read_image(index).data
        cancellation.check()
        values = normalise(voxels, how)
        cancellation.check()
        parts.append(resample(values[None], shape))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def class_indices(labels: NDArray[np.uint8], scheme: LabelScheme) -> NDArray[np.uint8]:
    """Convert voxel values to class indices 0..C-1; 255 stays."""
    table = np.full(256, UNANNOTATED, dtype=np.uint8)
    table[0] = 0
    for index, value in enumerate(scheme.values, start=1):
        table[value] = index
    return table[labels]


def working_target(
    indices: NDArray[np.uint8], classes: int, shape: Shape
) -> NDArray[np.uint8]:
    """Resample class indices; the largest share of a working voxel decides.

    Only what is annotated votes: one slice of a volume still counts where a working
    voxel is several slices thick. A voxel is annotated where it holds the centre of
    an annotated one.
    """
    if indices.shape == shape:
        return indices
    result = np.full(shape, UNANNOTATED, dtype=np.uint8)
    annotated = indices != UNANNOTATED
    holding = _holding(annotated, shape)
    known = annotated.any(axis=(1, 2))
    # Plane by plane: shares of a whole scan fill the memory, and most may be empty.
    for plane, weights in enumerate(axis_weights(len(indices), shape[0])):
        own = np.flatnonzero(weights)
        if not known[own].any():
            continue
        best = np.zeros(shape[1:], np.float32)
        for index in range(classes):
            there = (indices[own] == index).astype(np.float32)
            mixed = np.tensordot(weights[own], there, 1)
            votes = resample(mixed[None, None], (1, *shape[1:]))[0, 0]
            result[plane][votes > best] = index
            best = np.maximum(best, votes)
    result[~holding] = UNANNOTATED
    return result


def _holding(annotated: NDArray[np.bool_], shape: Shape) -> NDArray[np.bool_]:
    """Find working voxels that hold the centre of one of these, or lie in one."""
    for axis, (count, target) in enumerate(zip(annotated.shape, shape, strict=True)):
        cells = np.arange(target)
        if target < count:
            starts = np.ceil(cells * (count / target) - 0.5).astype(int)
            annotated = joined(annotated, starts, axis)
        elif target > count:
            nearest = ((cells + 0.5) * (count / target)).astype(int)
            annotated = annotated.take(nearest, axis=axis)
    return annotated


class Cache:
    """Prepared cases of a project for one plan.

    Parameters
    ----------
    project : Project
        Whose cases to prepare; the files go into its ``cache`` folder.
    plan : Plan
        Working grid, intensities and SDM limit.
    """

    def __init__(self, project: Project, plan: Plan) -> None:
        self._labels = project.labels
        self._plan = plan
        self._folder = project.layout.cache
        self._load = lru_cache(OPEN)(_load)

    def prepare(
        self, case: Case, *, with_label: bool, proposal: Path | None = None
    ) -> Prepared:
        """Read a case's files, making those that are not there yet.

        A ``proposal`` is a mask to take in the place of a label.

        Raises
        ------
        SemisegError
            The image or the label cannot be read, or the image has changed since it
            was added.
        """
        case.check_images()
        shape = working_shape(
            case.geometry.shape_zyx, case.geometry.spacing_mm, self._plan.spacing_mm
        )
        image = self._image_file(case)
        if not image.exists():
            values = working_images(case, shape, self._plan)
            _save(image, values.astype(np.float16))
        mask = proposal or (case.folder.label if with_label else None)
        version = _content(mask) if mask else ""
        if mask:
            target, low, high = self._label_files(case, version)
            if not target.exists():
                self._make_target(case, mask, shape, version, target, low, high)
        return self.read(case, version, proposed=proposal is not None)

    def read(self, case: Case, version: str, *, proposed: bool = False) -> Prepared:
        """Read what `prepare` has made of a case, in this process or another.

        ``version`` is the SHA-256 of the label; without one, it is empty.
        """
        files = {"image": self._image_file(case)}
        if version:
            target, low, high = self._label_files(case, version)
            files |= {"target": target, "low": low}
            if high.exists():
                files["high"] = high
        return Prepared(case.id, _Files(files, self._load), version, proposed)

    def _image_file(self, case: Case) -> Path:
        images = (f"{one.sha256}:{one.volume}" for one in case.record.channels)
        return self._file("image", case, " ".join(images))

    def _label_files(self, case: Case, version: str) -> tuple[Path, Path, Path]:
        """Paths of the target, and of the lowest and highest distances."""
        target, low, high = (
            self._file(kind, case, version) for kind in ("target", "low", "high")
        )
        return target, low, high

    def _make_target(
        self,
        case: Case,
        mask: Path,
        shape: Shape,
        version: str,
        target: Path,
        low: Path,
        high: Path,
    ) -> None:
        labels = read_labels(mask, case.geometry)
        case.scheme.check(labels, str(mask))
        if _content(mask) != version:
            raise ProjectError(
                f"{mask}: expected a label, found that it was replaced while it was "
                f"read; save it once more"
            )
        classes = len(self._labels) + 1
        indices = class_indices(labels, self._labels)
        spacing, limit = case.geometry.spacing_mm, self._plan.sdm_limit_mm
        lower, upper = working_distance_intervals(
            indices, classes, spacing, limit, shape
        )
        _save(low, lower)
        if (indices == UNANNOTATED).any():
            _save(high, upper)
        _save(target, working_target(indices, classes, shape))

    def _file(self, kind: str, case: Case, content: str) -> Path:
        plan = self._plan
        source = (
            CACHE_VERSION,
            content,
            plan.spacing_mm,
            [(how.kind, how.cut, how.mean_std) for how in plan.intensities]
            if kind == "image"
            else (plan.sdm_limit_mm, self._labels.values),
        )
        digest = hashlib.sha256(repr(source).encode()).hexdigest()[:16]
        path: Path = self._folder / f"{case.id}.{kind}.{digest}.npy"
        return path


def _content(label: Path) -> str:
    try:
        return hashlib.sha256(label.read_bytes()).hexdigest()
    except OSError as error:
        raise ProjectError(
            f"{label}: expected a label, found '{error.strerror or error}'; save it "
            f"once more"
        ) from error


def _save(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    with atomic_path(path) as temporary:
        np.save(temporary, array)


class _Files(Mapping[str, NDArray[Any]]):
    """Arrays in files, each mapped into memory when it is asked for."""

    def __init__(
        self, paths: Mapping[str, Path], load: Callable[[str], NDArray[Any]]
    ) -> None:
        self._paths = {name: str(path) for name, path in paths.items()}
        self._load = load

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._load(self._paths[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, name: object) -> bool:
        return name in self._paths  # without opening it


def _load(path: str) -> NDArray[Any]:
    loaded: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return loaded
