"""Dice of what is filled in between done slices, by the ways of filling in.

    python benchmarks/interpolation.py PROJECT --masks DIR [--cases LIST]

Slices of the true masks are done at every 5th, 10th and 20th slice, and at both ends of
the structures; the others are scored, as a mean over structures, then over cases.
Predictions are the newest ones of the project. One JSON object per distance and way.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_semiseg import Project
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.imaging.distance import truncated_distance
from napari_semiseg.imaging.metrics import overlap
from napari_semiseg.imaging.rendering import PLANES
from napari_semiseg.imaging.slice_interpolation import BLEND_MM, interpolate_slices
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.importing.match_masks import MaskFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_semiseg.project.cases.case import Case

WAYS = {
    "outlines": (),
    "image": ("image",),
    "prediction": ("sdm_mm",),
    "image and prediction": ("image", "sdm_mm"),
}


def known_of(project: Project, case: Case) -> dict[str, Any]:
    """What the ways follow: the image, and the distances of the newest prediction."""
    known: dict[str, Any] = {"image": case.read_image().data}
    run = project.prediction_run(case)
    if run is not None:
        predicted = run.read_mask(case, case.geometry)[1]
        known["sdm_mm"] = {
            value: truncated_distance(
                predicted == value, case.geometry.spacing_mm, 2 * BLEND_MM
            )
            for value in project.labels.values
        }
    return known


def scores(
    project: Project, case: Case, truth: NDArray[np.uint8], axis: int, every: int
) -> Iterator[tuple[str, float, float]]:
    """Way, Dice and seconds of a case with every so manieth slice done."""
    others = tuple(other for other in range(3) if other != axis)
    inside = np.flatnonzero((truth > 0).any(axis=others))
    done = sorted({*range(inside[0], inside[-1], every), int(inside[-1])})
    labels = np.full_like(truth, UNANNOTATED)
    rows = (slice(None),) * axis
    for index in done:
        labels[(*rows, index)] = truth[(*rows, index)]
    between = [at for at in range(done[0], done[-1]) if at not in done]
    known = known_of(project, case)
    for way, needed in WAYS.items():
        if not between or not known.keys() >= set(needed):
            continue
        begun = time.process_time()
        filled = interpolate_slices(
            labels,
            {axis: done},
            case.geometry.spacing_mm,
            **{name: known[name] for name in needed},
        )
        seconds = time.process_time() - begun
        found = overlap(
            np.take(filled, between, axis),
            np.take(truth, between, axis),
            project.labels,
        )
        yield way, found.mean_dice, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument("--masks", type=Path, required=True)
    parser.add_argument("--cases", type=Path, help="text file with a case id a line")
    parser.add_argument("--every", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--plane", choices=PLANES, default=PLANES[0])
    asked = parser.parse_args()
    project, masks = Project.open(asked.project), MaskFolder(asked.masks)
    names = asked.cases.read_text().split() if asked.cases else None
    cases = [case for case in project.cases() if names is None or case.id in names]
    paths = masks.pair(case.id for case in cases)
    for every in asked.every:
        found: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for case in (case for case in cases if case.id in paths):
            truth = read_labels(paths[case.id], case.geometry)
            axis = PLANES.index(asked.plane)
            for way, dice, seconds in scores(project, case, truth, axis, every):
                found[way].append((dice, seconds))
        for way, values in found.items():
            dice, seconds = np.array(values).T
            row = {
                "plane": asked.plane,
                "every": every,
                "way": way,
                "dice": round(float(dice.mean()), 4),
                "least": round(float(dice.min()), 4),
                "cases": len(values),
                "seconds": round(float(np.median(seconds)), 2),
            }
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
