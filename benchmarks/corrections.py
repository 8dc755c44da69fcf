"""Error that is left in predictions after some corrected slices, by what spreads them.

    python benchmarks/corrections.py PROJECT --masks DIR [--cases LIST] [--thick]

The most uncertain slices of the stored predictions, a fifth of the structures' extent
apart and then a tenth, are set to the true masks: alone, with the slices between them
filled in, or with the prediction refined. With `--thick` these are slices of the
working grid: of as many slices of the scan as one of it covers, all are corrected and
count as one. One JSON object per number of slices and way:
mean error (1 - Dice), its ratio to that of painting alone, the worst case against
painting, and seconds of a core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg import Project
from napari_semiseg.active_learning.suggest import APART
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.imaging.distance import truncated_distance
from napari_semiseg.imaging.metrics import overlap
from napari_semiseg.imaging.refinement import refine_labels
from napari_semiseg.imaging.slice_interpolation import BLEND_MM, interpolate_slices
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.importing.match_masks import MaskFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_semiseg.project.cases.case import Case

    Mask = NDArray[np.uint8]
    Floats = NDArray[np.float32]


def most_uncertain(
    predicted: Mask,
    uncertainty: NDArray[np.floating],
    slabs: NDArray[np.intp] | None = None,
) -> list[int]:
    """Axial slabs, by default slices, by doubt and as far apart as `APART` says."""
    slabs = np.arange(len(predicted)) if slabs is None else slabs
    doubt = np.bincount(slabs, uncertainty.sum(axis=(1, 2), dtype=np.float64))
    there = slabs[(predicted > 0).any(axis=(1, 2))]
    extent = np.ptp(there) + 1 if there.size else len(doubt)
    found: list[int] = []
    for apart in APART:
        for index in np.argsort(-doubt, kind="stable").tolist():
            if all(abs(index - other) >= max(1, apart * extent) for other in found):
                found.append(index)
    return found


def ways_of(
    project: Project, case: Case, *, thick: bool
) -> tuple[dict[str, Callable[[Mask], Mask]], list[NDArray[np.bool_]]]:
    """What makes a mask of corrected voxels, by name; and what to correct in turn.

    The latter are marks (Z,) on the slices of the scan, one for each correction.
    """
    run = project.prediction_run(case)
    assert run is not None
    _, predicted, maps = run.read_feature_maps(case, case.geometry)
    uncertainty = run.read_prediction(case, case.geometry).uncertainty
    spacing, values = case.geometry.spacing_mm, project.labels.values
    sdm = {
        value: truncated_distance(predicted == value, spacing, 2 * BLEND_MM)
        for value in values
    }

    def paint(corrected: Mask) -> Mask:
        return np.where(corrected == UNANNOTATED, predicted, corrected)

    def fill(corrected: Mask, known: dict[int, Floats] | None = None) -> Mask:
        done = np.flatnonzero((corrected != UNANNOTATED).all(axis=(1, 2)))
        filled = interpolate_slices(
            corrected, {0: done.tolist()}, spacing, sdm_mm=known
        )
        return np.where(filled == UNANNOTATED, predicted, filled)

    ways = {
        "painted": paint,
        "filled between": fill,
        "filled, prediction": lambda corrected: fill(corrected, sdm),
        "refined": lambda corrected: refine_labels(maps, predicted, corrected, values),
    }
    slabs, many = np.arange(len(predicted)), len(predicted)
    if thick:
        slabs = slabs * maps.log_probabilities.shape[1] // many
    order = most_uncertain(predicted, uncertainty, slabs)
    return ways, [slabs == one for one in order]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--cases", type=Path, help="text file with a case id a line")
    parser.add_argument("--thick", action="store_true", help="of the working grid")
    parser.add_argument("--slices", type=int, nargs="+", default=[1, 3, 5])
    asked = parser.parse_args()
    project, masks = Project.open(asked.project), MaskFolder(asked.masks)
    names = asked.cases.read_text().split() if asked.cases else None
    cases = [case for case in project.cases() if names is None or case.id in names]
    cases = [case for case in cases if project.prediction_run(case) is not None]
    errors: dict[tuple[int, str], list[float]] = defaultdict(list)
    seconds: dict[tuple[int, str], list[float]] = defaultdict(list)
    for name, path in masks.pair(case.id for case in cases).items():
        case = project.case(name)
        truth = read_labels(path, case.geometry)
        ways, order = ways_of(project, case, thick=asked.thick)
        for number in (0, *asked.slices):
            corrected = np.full_like(truth, UNANNOTATED)
            for slices in order[:number]:
                corrected[slices] = truth[slices]
            for way, mask_of in ways.items():
                if number == 0 and way != "painted":
                    continue
                begun = time.process_time()
                mask = mask_of(corrected)
                seconds[number, way].append(time.process_time() - begun)
                dice = overlap(mask, truth, project.labels).mean_dice
                errors[number, way].append(1 - dice)
    for (number, way), found in errors.items():
        painted = np.array(errors[number, "painted"])
        row = {
            "slices": number,
            "way": way,
            "error": round(float(np.mean(found)), 4),
            "of painting": round(float(np.mean(found) / painted.mean()), 3),
            "worst against painting": round(float((found - painted).max()), 4),
            "cases": len(found),
            "seconds": round(float(np.median(seconds[number, way])), 2),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
