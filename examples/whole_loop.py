"""The whole loop without a window: cohort, training, prediction, scores, next cases.

    python examples/whole_loop.py demo-folder --minutes 5

The patients are synthetic (see `napari_semiseg.samples.virtual_patients`); three of
them are labelled, the others are learned from without a label and scored afterwards.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import napari_semiseg as ss
from napari_semiseg.samples import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="auto")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--patients", type=int, default=12)
    asked = parser.parse_args()

    project, cohort = prepare(asked.folder, n=asked.patients)
    config = ss.TrainingConfig(
        method=asked.method, minutes=asked.minutes, steps=asked.steps
    )
    for event in ss.train(project, config):
        if event.type == "planned":
            print(f"{event.steps} steps on {event.device}")
        elif event.type == "stepped":
            terms = ", ".join(
                f"{key} {value:.3f}" for key, value in event.losses.items()
            )
            print(f"{event.step:>6}  {terms}")

    run = project.latest_run()
    for case in project.cases(state="unlabelled"):
        prediction = ss.predict(run, case)
        run.write_prediction(prediction, case.image)

    scores = ss.evaluate(project, cohort.folder / "labelsTr", run=run)
    for name, by_class in scores.cases.items():
        for label, found in by_class.items():
            print(
                f"{name}  {label}  Dice {found.dice:.3f}  HD95 {found.hd95_mm:.1f} mm"
            )

    for volume in ss.suggest(project, k=3).volumes:
        print(f"next: {volume.case}  {volume.reason}")


if __name__ == "__main__":
    main()
