"""Plant errors into labels and look how many of the first slices named have one.

    python benchmarks/audit.py IMAGES LABELS WORK --cases 16 --minutes 2

IMAGES and LABELS are folders of NIfTI files of the same names (nnU-Net's ``_0000`` may
end those of images). One slice in each of 20 places is shifted by 10 mm, loses half of
its structure or, where there are several classes, has them swapped. Chance is the part
of the slices with a structure that were planted in. The same command continues.
"""

from __future__ import annotations

import argparse
import json
from itertools import islice
from pathlib import Path

import nibabel
import numpy as np

import napari_semiseg as ss
from napari_semiseg.active_learning.suggest import suggest
from napari_semiseg.experiments.experiment import TrialStarted
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.importing.match_masks import MaskFolder

SHIFT_MM = 10.0


def plant(plane: np.ndarray, kind: str, spacing: tuple[float, float]) -> np.ndarray:
    """Make an error of a kind in a slice of a label."""
    if kind == "shifted":
        return np.roll(plane, round(SHIFT_MM / spacing[1]), axis=1)
    if kind == "missing":
        columns = np.flatnonzero(plane.any(axis=0))
        found = plane.copy()
        found[:, columns[len(columns) // 2] :] = 0
        return found
    values = np.unique(plane[plane > 0])
    swapped = dict(zip(values, np.roll(values, 1), strict=True)) | {0: 0}
    return np.vectorize(swapped.get)(plane).astype(np.uint8)


def make(args: argparse.Namespace) -> tuple[ss.Project, dict[str, list[int]]]:
    """Make a project with planted errors, or open the one there; where they are."""
    folder, known = args.work / "project", args.work / "planted.json"
    if known.exists():
        return ss.Project.open(folder), json.loads(known.read_text())
    masks = MaskFolder(args.labels)
    values = np.unique(np.asarray(nibabel.load(masks.paths[0]).dataobj))
    names = {f"class {value}": int(value) for value in values if value}
    project = ss.Project.create(folder, names)
    project.add(*islice(sorted(args.images.iterdir()), args.cases))
    rng = np.random.default_rng(args.seed)
    labels, places = {}, []
    for case in project.cases():
        label = read_labels(masks.require([case.id])[case.id], case.geometry)
        label = np.where(np.isin(label, list(names.values())), label, 0)
        labels[case.id], axis = label.astype(np.uint8), case.geometry.slice_axis
        areas = (np.moveaxis(label, axis, 0) > 0).sum(axis=(1, 2))
        big = np.flatnonzero(areas > np.median(areas[areas > 0]) / 2)
        places += [(case.id, int(index)) for index in big]
    planted: dict[str, list[int]] = {}
    kinds = ["shifted", "missing", *(["swapped"] if len(names) > 1 else [])]
    for number, at in enumerate(rng.permutation(len(places))[: args.errors]):
        name, index = places[at]
        geometry = project.case(name).geometry
        planes = np.moveaxis(labels[name], geometry.slice_axis, 0)
        spacing = np.delete(geometry.spacing_mm, geometry.slice_axis)
        kind = kinds[number % len(kinds)]
        planes[index] = plant(planes[index].copy(), kind, tuple(spacing))
        planted.setdefault(name, []).append(index)
    for name, label in labels.items():
        project.set_label(name, label, by="benchmark")
    known.write_text(json.dumps(planted))
    print(f"chance: {args.errors / len(places):.3f} ({len(places)} slices)")
    return project, planted


def main() -> None:
    """Plant, audit, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("images", "labels", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--cases", type=int, default=16)
    parser.add_argument("--errors", type=int, default=20)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--method", default="supervised")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    project, planted = make(args)
    config = ss.TrainingConfig(
        method=args.method, minutes=args.minutes, seed=args.seed, feature_maps=False
    )
    for event in ss.audit(project, config, folds=args.folds, out=args.work / "audit"):
        if isinstance(event, TrialStarted):
            print(event.text, flush=True)
    found = suggest(project, 100, "audit").slices
    right = [item.index in planted.get(item.case, ()) for item in found]
    for first in (5, 10, 20, 40):
        print(f"precision among the first {first}: {np.mean(right[:first]):.2f}")
    for item, hit in zip(found[:20], right, strict=False):
        print(item.case, item.index, f"{item.score:.3f}", item.reason, hit)


if __name__ == "__main__":
    main()
