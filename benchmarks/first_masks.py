"""Strokes and slices from nothing to masks of a Dice, by three ways of working.

    python benchmarks/first_masks.py DATA --cases LIST --label VALUE=NAME --out OUT

A simulated user works on one scan after the other until its Dice is ``--dice`` or more:

- *painting*: draws axial slices, the ends of the structure first and then halfway
  between those done, and fills in between;
- *assistant*: scribbles in and around the structure on three slices, then in the
  largest error that the answer leaves; after 12 scribbles paints as above;
- *assistant, training, refine*: the same on the ``--first`` scans, whose masks train a
  model; its predictions of the others are corrected slice by slice, the most uncertain
  first, and refined after each.

A stroke is a scribble, or a connected piece of a slice that had to become one class;
of a slice with many of these, a user draws the structure anew instead. The same command
continues; OUT holds the project, ``first_masks.json`` and the figure.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from corrections import most_uncertain
from scipy import ndimage
from skimage.morphology import skeletonize

import napari_semiseg as ss
from napari_semiseg.assistants.prompts import Prompt
from napari_semiseg.assistants.propose import propose
from napari_semiseg.core.labels import UNANNOTATED, LabelScheme
from napari_semiseg.engine.api import predict_cases
from napari_semiseg.experiments.plots import curve_panels, save_figure
from napari_semiseg.imaging.refinement import refine_labels
from napari_semiseg.imaging.slice_interpolation import interpolate_slices
from napari_semiseg.io.atomic import write_json
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.importing.match_masks import MaskFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Mask = NDArray[np.uint8]

WAYS = ("painting", "assistant", "assistant, training, refine")
MOST_MARKS = 12
RING_MM = 5.0
"""Distance of the first stroke on background from the structure."""


@dataclass(frozen=True)
class Scan:
    """A scan of one structure, with its true mask."""

    case: ss.Case
    truth: Mask

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        return self.case.geometry.spacing_mm

    def dice(self, mask: Mask) -> float:
        both = int((mask & self.truth).sum())
        return 2 * both / max(1, int(mask.sum()) + int(self.truth.sum()))

    def pieces(self, mask: Mask, index: int) -> int:
        """Connected pieces to change in a slice, or to draw in it: what is less."""
        mine, right = mask[index], self.truth[index]
        wrong = mine != right
        change = sum(ndimage.label(wrong & (right == v))[1] for v in (0, 1))
        return min(change, max(1, ndimage.label(right)[1]))


Work = tuple[int, int, "Mask"]
"""Strokes and slices so far, and the mask after them."""


def paint(scan: Scan) -> Iterator[Work]:
    """Draw slices, each halfway in the widest gap, and fill in between."""
    truth, strokes = scan.truth, 0
    done: list[int] = []
    empty = np.zeros_like(truth)
    there = np.flatnonzero(truth.any(axis=(1, 2)))
    ends = [max(0, int(there[0]) - 1), min(len(truth) - 1, int(there[-1]) + 1)]
    while len(done) < len(there) + 2:
        gaps = [(b - a, (a + b) // 2) for a, b in pairwise(sorted(done))]
        index = max(gaps)[1] if len(done) > 1 else ends[len(done)]
        strokes += scan.pieces(empty, index)
        done.append(index)
        corrected = np.full_like(truth, UNANNOTATED)
        corrected[done] = truth[done]
        filled = interpolate_slices(corrected, {0: done}, scan.spacing_mm)
        yield strokes, len(done), np.where(filled == UNANNOTATED, 0, filled)


def assisted(scan: Scan) -> Iterator[Work]:
    """Scribble for an assistant, then where its answer is wrong; at last paint."""
    truth, image = scan.truth, scan.case.read_image().data
    there = np.flatnonzero(truth.any(axis=(1, 2)))
    first = [int(np.quantile(there, part)) for part in (0.2, 0.5, 0.8)]
    marks = [mark for index in first for mark in _first_marks(scan, index)]
    slices = set(first)
    while len(marks) <= MOST_MARKS:
        mask = propose(image, scan.spacing_mm, marks).astype(np.uint8)
        yield len(marks), len(slices), mask
        marks.append(mark := _next_mark(mask, truth))
        slices.add(int(mark.voxels[0, 0]))
    for strokes, number, mask in paint(scan):
        yield len(marks) + strokes, len(slices) + number, mask


def _first_marks(scan: Scan, index: int) -> list[Prompt]:
    inside = scan.truth[index] > 0
    far = ndimage.distance_transform_edt(~inside, sampling=scan.spacing_mm[1:])
    ring = (far > RING_MM) & (far <= RING_MM + scan.spacing_mm[1])
    ring_mark = Prompt("scribble", _placed(ring, index), foreground=False)
    return [Prompt("scribble", _middle(inside, index)), ring_mark]


def _next_mark(mask: Mask, truth: Mask) -> Prompt:
    """Scribble along the largest error of any slice."""
    wrong = mask != truth
    index = int(wrong.sum(axis=(1, 2)).argmax())
    found = []
    for value in (0, 1):
        pieces, number = ndimage.label(wrong[index] & (truth[index] == value))
        sizes = np.bincount(pieces.ravel(), minlength=number + 1)[1:]
        if number:
            found.append((int(sizes.max()), value, pieces == sizes.argmax() + 1))
    _, value, piece = max(found, key=lambda one: one[:2])
    return Prompt("scribble", _middle(piece, index), foreground=bool(value))


def _middle(region: NDArray[np.bool_], index: int) -> NDArray[np.intp]:
    """Voxels of a stroke along the middle of what is broad of a region."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    line = skeletonize(region) & (depth >= 0.5 * depth.max())
    return _placed(line if line.any() else depth == depth.max(), index)


def _placed(plane: NDArray[np.bool_], index: int) -> NDArray[np.intp]:
    places = np.argwhere(plane)
    return np.column_stack([np.full(len(places), index), places])


def refined(project: ss.Project, scan: Scan) -> Iterator[Work]:
    """Correct the most uncertain slices of a prediction, refined after each."""
    run = project.prediction_run(scan.case)
    assert run is not None
    geometry = scan.case.geometry
    _, predicted, maps = run.read_feature_maps(scan.case, geometry)
    uncertainty = run.read_prediction(scan.case, geometry).uncertainty
    corrected, strokes, mask = np.full_like(scan.truth, UNANNOTATED), 0, predicted
    yield 0, 0, mask
    for number, index in enumerate(most_uncertain(predicted, uncertainty)):
        strokes += scan.pieces(mask, index)
        corrected[index] = scan.truth[index]
        mask = refine_labels(maps, predicted, corrected, (1,))
        yield strokes, number + 1, mask


class Bench:
    """Work that is done so far, by way and case: rows of strokes, slices and Dice."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked, self.path = asked, asked.out / "first_masks.json"
        self.names = asked.cases.read_text().split()
        folder = asked.out / "project"
        images = asked.data / "imagesTr"
        if (folder / "project.toml").exists():
            self.project = ss.Project.open(folder)
        else:
            scheme = LabelScheme.parse([asked.label])
            self.project = ss.Project.create(folder, scheme)
            self.project.add(*(images / f"{name}.nii.gz" for name in self.names))
        self.masks = MaskFolder(asked.data / "labelsTr").pair(self.names)
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.rows: dict[str, dict[str, Any]] = {way: known.get(way, {}) for way in WAYS}

    def scan(self, name: str) -> Scan:
        case = self.project.case(name)
        truth = read_labels(self.masks[name], case.geometry)
        return Scan(case, (truth > 0).astype(np.uint8))

    def work(self, way: str, name: str, how: Any) -> Mask | None:
        """Work on a case until it is good enough, unless that is done; keep it."""
        if name in self.rows[way]:
            return None
        scan, rows = self.scan(name), []
        for strokes, slices, mask in how(scan):
            rows.append((strokes, slices, round(scan.dice(mask), 4)))
            if rows[-1][-1] >= self.asked.dice:
                break
        self.rows[way][name] = rows
        write_json(self.path, self.rows)
        print(f"{way}, {name}: {rows[-1]}", flush=True)
        return mask

    def run(self) -> None:
        painting, assistant, together = WAYS
        first = self.names[: self.asked.first]
        for name in first:
            mask = self.work(assistant, name, assisted)
            if mask is not None:
                self.project.set_label(self.project.case(name).id, mask, by="simulated")
        self.train()
        for name in self.names[self.asked.first :]:
            self.work(together, name, lambda scan: refined(self.project, scan))
        for name in self.names:
            self.work(assistant, name, assisted)
            self.work(painting, name, paint)
        for name in first:
            self.rows[together][name] = self.rows[assistant][name]
        write_json(self.path, self.rows)

    def train(self) -> None:
        """Train on the first masks, and predict the other scans."""
        rest = [self.project.case(name) for name in self.names[self.asked.first :]]
        if not self.project.runs():
            config = ss.TrainingConfig.build(
                dict(one.split("=", 1) for one in self.asked.set),
                steps=self.asked.steps,
            )
            for _ in ss.train(self.project, config):
                pass
        (run,) = self.project.runs()
        todo = [case for case in rest if self.project.prediction_run(case) is None]
        for _ in predict_cases(self.project, run, todo):
            pass

    def draw(self) -> None:
        """Draw the mean Dice of all scans against strokes and slices."""
        panels: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
        for at, what in enumerate(("strokes", "slices")):
            for way, cases in self.rows.items():
                dice = dict.fromkeys(self.names, 0.0)
                spent, curve = 0, [(0.0, 0.0, 0.0)]
                for number, name in enumerate(self.names):
                    if way == WAYS[2] and number == self.asked.first:
                        rest = self.names[number:]
                        dice |= {other: cases[other][0][2] for other in rest}
                    spent += cases[name][-1][at]
                    dice[name] = cases[name][-1][2]
                    curve.append((spent, float(np.mean([*dice.values()])), 0.0))
                panels.setdefault(f"By {what}", {})[way] = curve
                print(
                    json.dumps({what: curve[-1][0], "way": way, "dice": curve[-1][1]})
                )
        figure = curve_panels(panels, ["strokes", "slices"])
        figure.axes[0].set_ylabel("Dice, mean of all scans")
        save_figure(self.asked.out, "first_masks", figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of imagesTr and labelsTr")
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dice", type=float, default=0.9)
    parser.add_argument("--first", type=int, default=4)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    bench = Bench(parser.parse_args())
    bench.run()
    bench.draw()


if __name__ == "__main__":
    main()
