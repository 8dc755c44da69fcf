"""Score predictions against reference masks."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.text import listed
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.imaging.metrics import Metrics, evaluate_labels
from napari_semiseg.project.cases.labels import read_mask
from napari_semiseg.project.importing.match_masks import MaskFolder

if TYPE_CHECKING:
    from napari_semiseg.project.cases.case import CaseRef
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores.

    Attributes
    ----------
    cases : dict
        Case id to class name to `Metrics`.
    mean : dict
        Class name to metric to its mean over the cases.
    """

    cases: dict[str, dict[str, Metrics]]
    mean: dict[str, dict[str, float]]


def evaluate(
    project: Project,
    masks: str | Path,
    *,
    run: Run | None = None,
    predictions: str | Path | None = None,
    cases: Collection[CaseRef] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Compare predictions with reference masks, on the grids of the cases.

    An empty prediction of a structure that is there scores Dice 0 and the diagonal
    of the image as its distance.

    Parameters
    ----------
    masks : Path
        Folder of reference masks, named like the cases; 255 is not scored.
    run : Run, optional
        Whose predictions to score; by default the newest run that has any.
    predictions : Path, optional
        Folder of masks to score instead.
    cases : collection of Case or str, optional
        What to score; by default all that have a reference and a prediction.
    progress : callable
        Called with the number of cases done, and of all of them.

    Raises
    ------
    SemisegError
        A listed case lacks its reference or prediction, there is nothing to score, or
        a mask lies on another grid or holds unknown values.
    """
    if run is not None and predictions is not None:
        raise ConfigError("expected a run or a folder of predictions, found both")
    references = MaskFolder(masks)
    known = [project.case(name).id for name in cases] if cases is not None else None
    found = _predictions(project, run, predictions)
    if known is None:
        known = [case.id for case in project.cases()]
        pairs = references.pair(name for name in known if name in found)
    else:
        missing = [name for name in known if name not in found]
        if missing:
            raise ProjectError(
                f"expected predictions of {len(known)} cases, found none of "
                f"{listed(missing)}; run semiseg predict for them"
            )
        pairs = references.require(known)
    if not pairs:
        raise ProjectError(
            f"expected cases with a prediction and a mask in {masks}, found none; "
            "predict them first, or check the names of the masks"
        )
    scores = {}
    for done, (name, mask) in enumerate(sorted(pairs.items()), start=1):
        geometry = project.case(name).geometry
        reference = read_mask(mask, geometry, project.labels)
        project.labels.check(reference, str(mask))
        prediction = read_mask(found[name], geometry, project.labels)
        project.labels.check(prediction, str(found[name]))
        scores[name] = evaluate_labels(prediction, reference, geometry, project.labels)
        progress(done, len(pairs))
    return Evaluation(cases=scores, mean=_mean(scores))


def _predictions(
    project: Project, run: Run | None, folder: str | Path | None
) -> dict[str, Path]:
    """Predicted labels per case."""
    names = [case.id for case in project.cases()]
    if folder is not None:
        return MaskFolder(folder).pair(names)
    newest = (item for item in reversed(project.runs()) if item.predicted())
    holder = run or next(newest, None)
    if holder is None:
        return {}
    return {
        name: holder.folder.prediction(name).labels
        for name in names
        if holder.has_prediction(name)
    }


def _mean(scores: dict[str, dict[str, Metrics]]) -> dict[str, dict[str, float]]:
    """Plain means over the cases, per class and metric."""
    classes = next(iter(scores.values()))
    return {
        name: {
            metric: float(
                np.mean([getattr(case[name], metric) for case in scores.values()])
            )
            for metric in Metrics.model_fields
        }
        for name in classes
    }
