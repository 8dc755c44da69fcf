"""Let the prediction of a case follow what a person has corrected in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.errors import ProjectError
from napari_semiseg.imaging.mask_encoding import MaskEncoding
from napari_semiseg.imaging.refinement import refine_labels
from napari_semiseg.project.cases.versions import MaskVersions

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from napari_semiseg.project.cases.case import Case, CaseRef
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """What became of a mask.

    Attributes
    ----------
    mask : ndarray (Z, Y, X), uint8
        As `MaskEncoding` writes it: what was annotated is as before, and everything
        else is proposed.
    changed_voxels : int
        How many have another class than before.
    run : str
        Id of the run whose prediction was refined.
    """

    mask: NDArray[np.uint8]
    changed_voxels: int
    run: str


def refine_mask(
    run: Run,
    case: Case,
    mask: NDArray[np.uint8],
    locked: Collection[int] = (),
) -> Refinement:
    """Predict a case anew from its annotated voxels; nothing is stored.

    Reads files, and loads neither PyTorch nor Qt: for a thread of the panel.

    Parameters
    ----------
    run : Run
        With a prediction of the case and the feature maps of it.
    case : Case
        The case.
    mask : ndarray (Z, Y, X), uint8
        As it is edited, see `MaskEncoding`. What is annotated are the corrections, and
        stays; proposals are replaced.
    locked : collection of int
        Classes whose voxels stay as they are.

    Raises
    ------
    ProjectError
        Nothing is annotated, or everything; or the prediction is missing, is of
        another image or other classes, or was stored without feature maps.
    """
    encoding = MaskEncoding(case.scheme)
    corrected = encoding.human(mask)
    known = corrected != UNANNOTATED
    if known.all() or not known.any():
        found = "every" if known.all() else "no"
        raise ProjectError(
            f"case '{case.id}': expected corrections in a part of the mask, found "
            f"{found} voxel annotated; mark a corrected slice as done first"
        )
    record, predicted, maps = run.read_feature_maps(case, case.geometry)
    values = case.scheme.values
    if record.image_sha256 != case.record.sha256:
        raise ProjectError(
            f"case '{case.id}': expected a prediction of its image, found one of "
            "another; predict it again: semiseg predict --case"
        )
    if len(maps.log_probabilities) != len(values) + 1:
        raise ProjectError(
            f"case '{case.id}': expected maps of {len(values)} classes, found "
            f"{len(maps.log_probabilities) - 1}; train a model of these classes"
        )
    refined = refine_labels(maps, predicted, corrected, values)
    renewed = encoding.renew(mask, refined, locked)
    changed = encoding.confirm(renewed) != encoding.confirm(mask)
    return Refinement(renewed, int(np.count_nonzero(changed)), run.id)


def refine(
    project: Project,
    case: CaseRef,
    *,
    run: Run | None = None,
    locked: Collection[int] = (),
) -> Refinement:
    """Let the prediction of a case follow its corrections, and store it as its draft.

    The corrections are the annotated voxels of the draft, or of the label where there
    is no draft. A draft that was there is kept in ``previous``.

    Parameters
    ----------
    project : Project
        The project.
    case : Case or str
        The case, or its id.
    run : Run, optional
        Whose prediction; the newest by default.
    locked : collection of int
        Classes whose voxels stay as they are.

    Raises
    ------
    ProjectError
        As `refine_mask`; also where there is neither draft nor label.
    Conflict
        Another program has changed label or draft meanwhile.
    """
    case = project.case(case)
    versions = MaskVersions.of(case.folder)
    mask = case.read_draft() if case.has_draft else case.read_label()
    run = run or project.prediction_run(case)
    if mask is None or run is None:
        missing = "prediction" if run is None else "draft or label with corrections"
        raise ProjectError(
            f"case '{case.id}': expected a {missing}, found none; predict it, then "
            "correct a slice and mark it as done"
        )
    found = refine_mask(run, case, mask, locked)
    project.save_draft(case, found.mask, expected=versions)
    return found
