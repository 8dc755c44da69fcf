"""Learn from three painted slices per scan: everything else is "not annotated".

python examples/sparse_labels.py demo-folder --minutes 5
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import napari_semiseg as ss
from napari_semiseg.io.masks import read_labels
from napari_semiseg.samples import make_cohort

NOT_ANNOTATED = 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--patients", type=int, default=12)
    asked = parser.parse_args()

    cohort = make_cohort(asked.folder / "cohort", n=asked.patients)
    project = ss.Project.create(asked.folder / "sparse", labels={"ventricles": 1})
    project.add(*cohort.images)
    for name in cohort.labelled:
        case = project.case(name)
        mask = cohort.masks[cohort.ids.index(name)]
        whole = read_labels(mask, case.geometry)
        rows = np.flatnonzero(whole.any(axis=(1, 2)))
        painted = rows[[len(rows) // 4, len(rows) // 2, 3 * len(rows) // 4]]
        sparse = np.full_like(whole, NOT_ANNOTATED)
        sparse[painted] = whole[painted]
        project.set_label(name, sparse)
        done = project.case(name)
        print(f"{name}: {done.state}, {done.annotated_fraction:.1%} annotated")

    config = ss.TrainingConfig(minutes=asked.minutes, steps=asked.steps)
    for event in ss.train(project, config):
        if event.type == "finished":
            print(f"{event.reason} after {event.step} steps, {event.seconds:.0f} s")

    run = project.latest_run()
    case = project.case(cohort.ids[-1])
    print(f"{case.id}: {ss.predict(run, case).record.score.volumes_ml}")


if __name__ == "__main__":
    main()
