"""Peak memory of what goes through a whole cohort, by the number of its cases.

    python benchmarks/cohort_memory.py [--all]

Trains, predicts every case, scores and exports all predictions: each in a process of
its own, whose peak is told together with what of it is left for itself at the end (the
rest are libraries and cached files, which the system takes back when it needs to).
``--all`` goes on to 1,000 cases.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from cohort_size import make
from pairs import machine

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.experiments.worker import peak_memory_mb
from napari_semiseg.project.project import Project
from napari_semiseg.project.review.evaluate import evaluate

SIZES = (10, 100, 300)
SHAPE = (48, 48, 48)
STEPS = 40


def train(project: Project) -> int:
    from napari_semiseg import engine

    config = TrainingConfig(
        method="ug_mcl",
        steps=STEPS,
        width=4,
        patch_zyx=(32, 32, 32),
        spacing_mm=(1.0, 1.0, 1.0),
        precision="fp32",
    )
    *_, finished = engine.train(project, config)
    return int(finished.step)


def predict(project: Project) -> int:
    from napari_semiseg import engine

    run = project.latest_run()
    assert run is not None
    events = engine.predict_cases(project, run, project.cases())
    return sum(event.type == "predicted" for event in events)


def score(project: Project) -> int:
    return len(evaluate(project, project.folder.parent / "masks").cases)


def export(project: Project) -> int:
    out = project.folder.parent / "out"
    return len(project.export(out, what="predictions").written)


STAGES = {"training": train, "prediction": predict, "scores": score, "export": export}


def work(stage: str, folder: Path) -> None:
    """Do one stage; prints a JSON object."""
    project = Project.open(folder)
    cases = len(project.cases())
    start = time.perf_counter()
    done = STAGES[stage](project)
    seconds = time.perf_counter() - start
    held = psutil.Process().memory_info()
    row = {
        "what": f"{stage}, {cases} cases",
        "seconds": round(seconds, 1),
        "done": done,
        "peak_mb": round(peak_memory_mb()),
        "own_at_the_end_mb": round((held.rss - getattr(held, "shared", 0)) / 1e6),
    }
    print(json.dumps(row | machine()), flush=True)


def main() -> None:
    if sys.argv[1:2] == ["--stage"]:
        work(sys.argv[2], Path(sys.argv[3]))
        return
    for cases in SIZES + (1_000,) * ("--all" in sys.argv):
        with tempfile.TemporaryDirectory() as parent:
            folder = make(Path(parent) / "files", cases, SHAPE)
            project = Project.open(folder)
            masks = folder.parent / "masks"
            masks.mkdir()
            label = project.case("scan").folder.label
            for case in project.cases():
                shutil.copy(label, masks / f"{case.id}.nii.gz")
            for stage in STAGES:
                command = [sys.executable, __file__, "--stage", stage, str(folder)]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
