"""Annotate slices of a copy of a project from reference masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.experiments.checks import refuse_duplicates
from napari_semiseg.imaging.refinement import refine_labels
from napari_semiseg.project.cases.labels import check_mask, read_mask
from napari_semiseg.project.cases.records import Records
from napari_semiseg.project.cases.references import reference, resolve
from napari_semiseg.project.importing.match_masks import MaskFolder
from napari_semiseg.project.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_semiseg.experiments.simulation.results import AnnotatedSlice
    from napari_semiseg.experiments.simulation.spec import Simulation
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.cases.record import CaseRecord

AUTHOR = "semiseg simulate"


def cases_with_masks(project: Project, masks: Path, test: Sequence[str]) -> list[str]:
    """Ids of the training cases that have a mask: those to annotate by default."""
    training = {case.id for case in _included(project, Split.TRAIN)}
    return sorted(MaskFolder(masks).pair(training - set(test)))


def test_cases(project: Project) -> list[str]:
    """Ids of the project's own test cases."""
    return [case.id for case in _included(project, Split.TEST)]


def _included(project: Project, split: Split) -> list[Case]:
    found = project.cases(split=split)
    return [case for case in found if case.state is not CaseState.EXCLUDED]


@dataclass(frozen=True, slots=True)
class References:
    """Masks of the cases to annotate and of the test cases, by id."""

    paths: dict[str, Path]

    @classmethod
    def check(cls, project: Project, simulation: Simulation) -> References:
        """Find and read all masks, so that errors come before hours of training."""
        ids = [*simulation.cases, *simulation.test]
        cases = {name: project.case(name) for name in ids}
        paths = MaskFolder(simulation.masks).require(ids)
        for name, case in cases.items():
            labels = check_mask(paths[name], case, project.labels)
            if name in simulation.cases and (labels == UNANNOTATED).any():
                raise ConfigError(
                    f"{paths[name]}: expected a whole reference mask, found voxels "
                    "that are not annotated (255); complete it, or leave the case out "
                    "with --cases"
                )
        return cls(paths)

    def read(self, case: Case) -> NDArray[np.uint8]:
        """Reference mask (Z, Y, X) of a case."""
        return read_mask(self.paths[case.id], case.geometry, case.scheme)


def copy_project(
    source: Project, folder: Path, cases: Sequence[str], test: Sequence[str]
) -> Project:
    """Make a project of the same images without any label, or open the one there.

    Cases to annotate and all other training cases are in it, the latter as unlabelled
    data; cases to score on are out of training's reach. Validation cases stay behind.
    """
    if (folder / "project.toml").exists():
        copy = Project.open(folder)
    else:
        copy = Project.create(folder, source.labels, name=folder.name)
    if copy.labels != source.labels:
        raise ProjectError(
            f"{folder}: expected the classes of {source.folder}, found others; choose "
            "another --out"
        )
    records = Records(copy.layout)
    known = set(records.ids())
    splits = {case.id: Split.TRAIN for case in _included(source, Split.TRAIN)}
    splits |= dict.fromkeys(cases, Split.TRAIN)
    splits |= dict.fromkeys(test, Split.TEST)
    for name, split in splits.items():
        if name not in known:
            record = _with_paths(source.case(name).record, source.folder, copy.folder)
            records.write(record.model_copy(update={"split": split, "history": ()}))
    refuse_duplicates(copy)
    return copy


def _with_paths(record: CaseRecord, source: Path, target: Path) -> CaseRecord:
    """Record in another project's folder, of the same images."""
    channels = tuple(
        channel.model_copy(
            update={"image": reference(resolve(channel.image, source), target)}
        )
        for channel in record.channels
    )
    return record.model_copy(update={"channels": channels, "excluded": False})


def count_slices(project: Project, cases: Iterable[str], axis: int | None) -> int:
    """Count slices of cases along an axis; None takes that of the finest pixels."""
    total = 0
    for name in cases:
        geometry = project.case(name).geometry
        total += geometry.shape_zyx[geometry.slice_axis if axis is None else axis]
    return total


@dataclass(frozen=True, slots=True)
class Cost:
    """What a user does to correct slices.

    Attributes
    ----------
    strokes : int
        Connected pieces of a slice that had to become one class.
    voxels : int
        Voxels in them.
    """

    strokes: int = 0
    voxels: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.strokes + other.strokes, self.voxels + other.voxels)


def cost(
    project: Project,
    case: Case,
    slices: Iterable[AnnotatedSlice],
    references: References,
    *,
    refines: bool = False,
) -> Cost:
    """Count what a user changes to correct slices of a case, one after the other.

    The user starts from the newest prediction, or from nothing, and leaves what is
    annotated already. One who ``refines`` lets the prediction follow what is
    annotated before each slice.
    """
    run, truth = project.prediction_run(case.id), references.read(case)
    label = _label(case)
    current, maps = np.zeros_like(truth), None
    if run is not None:
        current = run.read_mask(case, case.geometry)[1]
    if run is not None and refines:
        maps = run.read_feature_maps(case, case.geometry)[2]
    predicted, total = current, Cost()
    for place in slices:
        if maps is not None and (label != UNANNOTATED).any():
            current = refine_labels(maps, predicted, label, case.scheme.values)
        painted = _painted([place], truth.shape)
        wrong = (current != truth) & painted & (label == UNANNOTATED)
        total += _cost_of(wrong, truth, place)
        label = np.where(painted, truth, label)
    return total


def _cost_of(
    wrong: NDArray[np.bool_], truth: NDArray[np.uint8], place: AnnotatedSlice
) -> Cost:
    """Cost of what is wrong in one slice."""
    plane, right = (np.take(one, place.index, place.axis) for one in (wrong, truth))
    classes = np.unique(right[plane])
    pieces = (ndimage.label(plane & (right == value))[1] for value in classes)
    return Cost(sum(pieces), int(np.count_nonzero(plane)))


def annotate(
    project: Project,
    case: Case,
    slices: Iterable[AnnotatedSlice],
    references: References,
) -> None:
    """Set slices of a case to the reference."""
    label = _label(case)
    painted = _painted(slices, case.geometry.shape_zyx)
    corrected = np.where(painted, references.read(case), label)
    if not np.array_equal(corrected, label):
        project.set_label(case.id, corrected, by=AUTHOR)


def _label(case: Case) -> NDArray[np.uint8]:
    label = case.read_label()
    if label is None:
        return np.full(case.geometry.shape_zyx, UNANNOTATED, np.uint8)
    return label


def _painted(
    slices: Iterable[AnnotatedSlice], shape: tuple[int, int, int]
) -> NDArray[np.bool_]:
    painted = np.zeros(shape, bool)
    for place in slices:
        np.moveaxis(painted, place.axis, 0)[place.index] = True
    return painted
