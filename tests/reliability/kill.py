"""Kill what the program does at random moments, and look at what is left.

    python tests/reliability/kill.py --tries 200

Each try forks a process that annotates, accepts, trains, predicts or exports, ends it
with SIGKILL after a random time, and checks everything that is on the disk then. What
the process had reported as done must be there; everything there must be whole. Linux.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from napari_semiseg.core.case import CaseState
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.io.images import file_sha256
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases.versions import KEPT
from napari_semiseg.project.exporting.export import export
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run
from synthetic import SIZE, ball, save_nifti

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WINDOWS_S = {
    "annotate": 0.2,
    "accept": 0.3,
    "train": 6.0,
    "predict": 1.0,
    "export": 0.5,
}
"""Longest time to live of the first try of a kind; adapts to the machine."""

KINDS = tuple(WINDOWS_S)
CASES = 5
CONFIG = TrainingConfig(
    method="supervised",
    steps=5000,
    device="cpu",
    width=4,
    patch_zyx=(16, 16, 16),
    labelled_batch=1,
    precision="fp32",
    checkpoint_seconds=0.0,
)


LABELLING, TRAINING = "labelling", "training"
"""Projects: a training that took in labels at other steps is another one."""


def numbered(number: int) -> np.ndarray:
    """Labels (z, y, x) that hold a number, twelve voxels a bit, far from each other."""
    labels = np.random.default_rng(number).integers(0, 2, (SIZE,) * 3, np.uint8)
    for bit in range(16):
        labels[:12, bit, bit] = number >> bit & 1
    return labels


def number_in(labels: np.ndarray) -> int:
    """The number, when the labels are exactly those of it."""
    number = sum(int(labels[0, bit, bit]) << bit for bit in range(16))
    assert np.array_equal(labels, numbered(number)), "a mix of two masks"
    return number


class Killed:
    """Runs work in a child and kills it.

    ``work`` gets a function to report what is done; ``reported`` is what arrived.
    """

    def __init__(self, work: Callable[[Callable[[int], None]], None], after: float):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(reader)
                work(lambda number: os.write(writer, f"{number}\n".encode()))
                code = 0
            except BaseException:  # noqa: BLE001 - the child ends here
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(writer)
        text, end = b"", None
        while True:
            # The clock begins when the child does, not when it is forked.
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([reader], [], [], left)[0]:
                os.kill(child, signal.SIGKILL)
                end = None
            if not (read := os.read(reader, 4096)):
                break
            end = end if text else time.monotonic() + after
            text += read
        os.close(reader)
        _, status = os.waitpid(child, 0)
        failed = os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0
        assert not failed, "the child failed; see above"
        self.reported = [int(line) for line in text.split(b"\n")[1:-1]]


class Bench:
    """A small project, and one try of each kind."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        for number in range(CASES):
            noise = np.random.default_rng(number).normal(0, 10, (SIZE,) * 3)
            image = (100 * ball(number) + noise).astype(np.int16)
            save_nifti(folder / "images" / f"case_{number}.nii.gz", image)
        for name in (LABELLING, TRAINING):
            project = Project.create(folder / name, {"ball": 1})
            project.add(folder / "images")
            for number in range(2):
                path = save_nifti(folder / f"m{number}.nii.gz", ball(number))
                project.set_label(f"case_{number}", path)
        self.drafted = self.accepted = 0
        self.moments: dict[str, int] = {}
        self.windows = dict(WINDOWS_S)

    def killed(self, kind: str, work: Callable[[Callable[[int], None]], None]):
        """Reports of a child that was killed after a random time."""
        window = self.windows[kind]
        done = Killed(work, self.random.uniform(0, window)).reported
        self.windows[kind] = window * (1.4 if not done else 0.8 if len(done) > 5 else 1)
        return done

    def open(self, name: str = LABELLING) -> Project:
        """As another program sees it."""
        project = Project.open(self.folder / name)
        project.cases()
        for run in project.runs():
            assert run.status in ("interrupted", "completed", "cancelled"), run.status
        return project

    def note(self, moment: str) -> None:
        """Count in which state a try left things."""
        self.moments[moment] = self.moments.get(moment, 0) + 1

    def annotate(self) -> None:
        """The autosave of edits: the last that was reported is there, or a newer."""
        first = self.drafted + 1

        def work(report: Callable[[int], None]) -> None:
            project = self.open()
            report(0)
            for number in range(first, first + 10_000):
                project.save_draft("case_2", numbered(number))
                report(number)

        done = self.killed("annotate", work)
        kept = self.drafted if not done else done[-1]
        draft = self.open().case("case_2").read_draft()
        found = 0 if draft is None else number_in(draft)
        self.drafted = found
        assert found in (kept, kept + 1), (found, kept)
        self.note("draft newer than reported" if found > kept else "draft as reported")

    def accept(self) -> None:
        """Labels: the last reported is there, and the five before it are kept."""
        first = self.accepted + 1

        def work(report: Callable[[int], None]) -> None:
            project = self.open()
            report(0)
            for number in range(first, first + 10_000):
                project.save_draft("case_3", numbered(number))
                project.set_label("case_3", numbered(number), minutes=1.0)
                report(number)

        done = self.killed("accept", work)
        sure = self.accepted if not done else done[-1]
        project = self.open()
        case = project.case("case_3")
        label = case.read_label()
        found = self.accepted = 0 if label is None else number_in(label)
        assert found in (sure, sure + 1), (found, sure)
        assert case.state is CaseState.LABELLED or found == 0
        draft = case.read_draft()
        assert draft is None or number_in(draft) in (found, found + 1)
        copies = sorted(case.folder.previous.glob("[0-9]*.nii.gz"))
        kept = [number_in(read_labels(path, case.geometry)) for path in copies]
        expected = list(range(max(1, found - KEPT), found))
        assert set(expected) <= set(kept), (kept, found)
        assert kept == sorted(set(kept)), (kept, found)
        entries = [e for e in case.record.history if e.action == "label"]
        assert sure <= len(entries) + self.moments.get("label without its entry", 0)
        self.note("label newer than reported" if found > sure else "label as reported")
        if found > len(entries) + self.moments.get("label without its entry", 0):
            self.note("label without its entry")

    def train(self) -> None:
        """One run, killed again and again; at the end it equals one without a break."""
        from napari_semiseg.engine import api

        def work(report: Callable[[int], None]) -> None:
            project = self.open(TRAINING)
            report(0)
            run = project.latest_run()
            events = (
                api.train(project, CONFIG) if run is None else api.resume(project, run)
            )
            for event in events:
                if event.type == "checkpointed":
                    report(event.step)

        before = self.step()
        done = self.killed("train", work)
        after = self.step()
        assert after >= max([before, *done]), (before, done, after)
        self.note("stopped before a step" if after == before else "stopped in training")

    def step(self) -> int:
        """Steps in the checkpoint of the run, which must load."""
        run = self.open(TRAINING).latest_run()
        return 0 if run is None else self.last_step(run)

    def last_step(self, run: Run) -> int:
        """Steps of a checkpoint."""
        from napari_semiseg.engine.training.checkpoint import Checkpoint

        return Checkpoint.load(run.folder.last).step if run.has_model else 0

    def trained(self) -> Run:
        """A run with a model, made in a child: this process must not compute."""
        project = self.open(TRAINING)
        run = project.latest_run()
        while run is None or not run.has_model:
            Killed(self._train_a_step, 600.0)
            run = project.latest_run()
        return run

    def _train_a_step(self, report: Callable[[int], None]) -> None:
        from napari_semiseg.engine import api

        for event in api.train(self.open(TRAINING), CONFIG):
            if event.type == "checkpointed":
                return

    def predict(self) -> None:
        """Predictions: whole or none, and what was reported is there."""
        from napari_semiseg.engine import api

        run = self.trained()
        before = set(run.predicted())

        def work(report: Callable[[int], None]) -> None:
            project = self.open(TRAINING)
            report(0)
            cases = project.cases()
            for number, _ in enumerate(api.predict_cases(project, run, cases), 1):
                report(number)

        done = self.killed("predict", work)
        project = self.open(TRAINING)
        found = set(project.run(run.id).predicted())
        ids = [case.id for case in project.cases()]
        assert set(ids[: len(done)]) <= found, (done, found)
        # At most the one whose files were being exchanged is missing.
        assert len(before - found) <= 1, (before, found)
        for name in found:
            made = run.read_prediction(name, project.case(name).geometry)
            assert (made.record.case, made.record.run) == (name, run.id)
            assert made.labels.shape == made.sdm_mm.shape[1:] == made.uncertainty.shape
            assert np.isin(made.labels, (0, 1)).all()
            assert np.isfinite(made.sdm_mm).all()
        self.note(f"{min(len(done), 1)} or more predictions made")

    def export(self) -> None:
        """Exports: every mask is whole; a manifest speaks of all of its files."""
        out = self.folder / "export"
        formats = ("nifti", "nrrd", "nnunet", "stl")
        fmt = self.random.choice(formats)

        def work(report: Callable[[int], None]) -> None:
            project = self.open()
            report(0)
            for number in range(1, 10_000):
                labels = numbered(number) if number % 2 else ball(2)
                project.set_label("case_4", labels.reshape((SIZE,) * 3))
                export(project, out / fmt, what="labels", fmt=fmt)
                report(number)

        self.killed("export", work)
        project = self.open()
        target = out / fmt
        manifest = target / "manifest.json"
        listed = json.loads(manifest.read_text())["files"] if manifest.exists() else []
        for item in listed:
            assert file_sha256(target / item["file"]) == item["sha256"], item
        for path in whole_files(target):
            if path.name.endswith(".nii.gz"):
                np.asarray(nib.load(path).dataobj)
            elif path.suffix == ".nrrd":
                stem = path.name.removesuffix(".nrrd")
                read_labels(path, project.case(stem).geometry)
        self.note("export with its manifest" if listed else "export without a manifest")

    def finish(self) -> None:
        """The run that was killed has come as far as one that never was."""
        run = self.open(TRAINING).latest_run()
        if run is None or "stopped in training" not in self.moments:
            return
        Killed(self._again_without_a_break, 900.0)
        run, other = self.open(TRAINING).runs()[-2:]
        assert self.last_step(run) == self.last_step(other) > 0
        assert states_equal(run.folder.last, other.folder.last), "resume is not exact"
        self.note(f"{self.last_step(run)} steps in pieces equal those without a break")

    def _again_without_a_break(self, report: Callable[[int], None]) -> None:
        from napari_semiseg.engine import api

        project = self.open(TRAINING)
        run = project.latest_run()
        assert run is not None
        steps, plan = self.last_step(run), run.plan
        assert plan is not None
        twin = Run.create(project, run.config)
        twin.folder.plan.write_text(plan.model_dump_json())
        for event in api.resume(project, twin):
            if event.type == "checkpointed" and event.step == steps:
                return


def whole_files(folder: Path) -> Iterator[Path]:
    """Files that are not marked as unfinished."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".tmp-"):
            yield path


def states_equal(one: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same numbers."""
    import torch

    left, right = (torch.load(path, weights_only=True) for path in (one, other))

    def same(a: object, b: object) -> bool:
        if isinstance(a, torch.Tensor):
            return isinstance(b, torch.Tensor) and torch.equal(a, b)
        if isinstance(a, dict):
            return (
                isinstance(b, dict)
                and a.keys() == b.keys()
                and all(same(value, b[key]) for key, value in a.items())
            )
        if isinstance(a, list | tuple):
            return len(a) == len(b) and all(map(same, a, b))
        return bool(a == b)

    left["seconds"] = right["seconds"] = 0.0
    return same(left, right)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # Tiny networks on several cores would spend their time waiting for each other.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    failures: list[str] = []
    counts = dict.fromkeys(options.kinds, 0)
    if {"train", "predict"} & set(options.kinds):
        importlib.import_module("napari_semiseg.engine.api")  # not in every child
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.seed)
        for number in range(options.tries):
            kind = options.kinds[number % len(options.kinds)]
            sys.stderr.write(f"{number + 1}/{options.tries} {kind}\n")
            try:
                getattr(bench, kind)()
            except Exception:  # noqa: BLE001 - counted
                failures.append(f"{kind}: {traceback.format_exc()}")
            counts[kind] += 1
        try:
            bench.finish()
        except Exception:  # noqa: BLE001 - counted
            failures.append(f"finish: {traceback.format_exc()}")
    report = {"tries": counts, "moments": bench.moments, "failures": failures}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
