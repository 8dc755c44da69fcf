"""Run verbs with few open files or little memory: each works, or says why in one line.

    python tests/reliability/limits.py --tries 200

A child process runs a verb on a small project with a limit of the system on its open
files (`ulimit -n`) or its memory (`ulimit -v`). A traceback, a second line, a hang, a
mask that is not whole and a label that is gone are failures; that a library in C or
Rust ends the process which gets no memory is counted. Linux.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from faulty import outcome

from dicom_files import write_oblique_series
from napari_semiseg.cli.app import app
from napari_semiseg.cli.errors import exit_code
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run
from synthetic import SIZE, ball, prediction_of, save_nifti

SECONDS = 120
MEMORY_STEP = 10 * 2**20
LIMITS = ("files", "memory")
TINY = ("width=4", "patch_zyx=[16, 16, 16]", "precision=fp32")
FORMATS = ("nifti", "nrrd", "nnunet", "stl", "dicom-seg")
CASES = 4
ABORTED = (-signal.SIGABRT, -signal.SIGSEGV)
"""How libraries in C and Rust end a process that gets no memory."""


class Cohort:
    """A project with labels and predictions, and the verbs to run on a copy of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number in range(CASES):
            noise = np.random.default_rng(number).normal(0, 10, (SIZE,) * 3)
            image = (100 * ball(number) + noise).astype(np.int16)
            save_nifti(folder / "images" / f"case_{number}.nii.gz", image)
            save_nifti(folder / "masks" / f"case_{number}.nii.gz", ball(number))
        write_oblique_series(folder / "series")
        self.whole = Project.create(folder / "whole", {"ball": 1})
        self.whole.add(folder / "images")
        for number in range(2):
            path = folder / "masks" / f"case_{number}.nii.gz"
            self.whole.set_label(f"case_{number}", path)
        run = Run.create(self.whole, TrainingConfig(steps=5))
        for case in self.whole.cases():
            labels = case.geometry.to_canonical(ball(int(case.id[-1]))).copy()
            made = prediction_of(run, case, labels, volumes_ml={"ball": 1.0})
            run.write_prediction(made, case.image)

    def verbs(self, project: Path, out: Path) -> dict[str, list[str]]:
        """Words of each verb."""
        masks = ["--masks", str(self.folder / "masks")]
        exports = {f"export {fmt}": ["--format", fmt] for fmt in FORMATS}
        sets = [word for value in TINY for word in ("--set", value)]
        training = ["--method", "supervised", "--steps", "1", "--device", "cpu", *sets]
        return {
            "status": ["status", str(project)],
            "add": ["add", str(project), str(self.folder / "series")],
            "label": ["label", str(project), *masks],
            "accept": ["accept", str(project), "--all"],
            "evaluate": ["evaluate", str(project), *masks],
            "suggest": ["suggest", str(project)],
            "doctor": ["doctor", str(project)],
            "train": ["train", str(project), *training],
        } | {
            name: ["export", str(project), str(out), *words]
            for name, words in exports.items()
        }


def limited(words: list[str], kind: str, amount: int) -> tuple[int, str]:
    """Exit code of a verb, and what it wrote to stderr."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(writer, 2)
        os.closerange(3, 64)
        sys.stdout, sys.stderr = (os.fdopen(number, "w") for number in (1, 2))
        code = 99
        try:
            if kind == "files":
                resource.setrlimit(resource.RLIMIT_NOFILE, (amount, amount))
            else:
                pages = int(Path("/proc/self/statm").read_text().split()[0])
                most = pages * resource.getpagesize() + amount
                resource.setrlimit(resource.RLIMIT_AS, (most, most))
            sys.argv = ["semiseg", *words]
            code = exit_code(app)
            sys.stderr.flush()
        except BaseException:  # noqa: BLE001 - counted
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    os.close(writer)
    said, status, _ = outcome(child, reader, SECONDS)
    return os.waitstatus_to_exitcode(status), said.decode(errors="replace")


def problem(code: int, said: str, cohort: Cohort, project: Path) -> str:
    """What is wrong with how a verb ended; empty if nothing."""
    lines = [line for line in said.splitlines() if line.startswith("semiseg: ")]
    aborted = code in ABORTED
    if not aborted and (code not in (0, 1) or "Traceback" in said):
        return f"ended with {code}"
    if code == 1 and len(lines) != 1:
        return "no single line says why"
    opened = Project.open(project)
    for case in cohort.whole.cases():
        now = opened.case(case.id)
        label = now.read_label()
        if case.has_label and not np.array_equal(label, case.read_label()):
            return f"the label of {case.id} is another one"
        if label is not None and label.max() > 1:
            return f"the label of {case.id} is torn"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--kinds", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--verbs", nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rng = random.Random(options.seed)
    counts: dict[str, dict[str, int]] = {}
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        cohort = Cohort(Path(folder))
        project, out = Path(folder, "project"), Path(folder, "out")
        verbs = cohort.verbs(project, out)
        chosen = options.verbs or list(verbs)
        if "train" in chosen:
            importlib.import_module("napari_semiseg.engine.api")
        for number in range(options.tries):
            verb = chosen[number % len(chosen)]
            kind = options.kinds[number // len(chosen) % len(options.kinds)]
            for place in (project, out):
                shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(cohort.whole.folder, project)
            amount = rng.randrange(4, 40)
            amount *= 1 if kind == "files" else MEMORY_STEP
            code, said = limited(verbs[verb], kind, amount)
            wrong = problem(code, said, cohort, project)
            words = {0: "worked", 1: "refused"}
            word = "failed" if wrong else words.get(code, "ended by a library")
            of_kind = counts.setdefault(f"{verb}, {kind}", {})
            of_kind[word] = of_kind.get(word, 0) + 1
            if wrong:
                failures.append(f"{verb} with {amount} of {kind}: {wrong}: {said}")
            sys.stderr.write(f"{number + 1}/{options.tries} {verb} {kind}: {word}\n")
    report = {"tries": options.tries, "counts": counts, "failures": failures}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
