"""Feed the program with damaged files: each is read, or refused in one line.

    python tests/reliability/fuzz.py --inputs 1000

Files of every kind that a project reads are cut off or get flipped bits, and headers
that lie. Children with little memory read them; a traceback, a hang, a crash and memory
beyond the limit are failures. Linux.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from faulty import outcome

from dicom_files import write_oblique_series
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.core.prediction import SliceScore
from napari_semiseg.errors import SemisegError
from napari_semiseg.io.images import content_sha256, read_image
from napari_semiseg.project.exporting.export import export
from napari_semiseg.project.importing.match_masks import attach
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run
from synthetic import SIZE, ball, prediction_of, save_nifti

if TYPE_CHECKING:
    from collections.abc import Callable

SHARES = {"nifti": 30, "itk": 15, "dicom": 20, "json": 15, "toml": 8, "checkpoint": 12}
"""How many of a hundred inputs are of which kind."""

MEMORY = 2**30
"""How much more than it has at its beginning a child may take, bytes."""

SECONDS = 20

_UNREADABLE = re.compile(r"\n|MemoryError|\bnp\.\w+\(|\b0x[0-9a-f]{6}")
"""What no message has: line ends, types of NumPy, addresses."""


@dataclass(frozen=True)
class Target:
    """A file to damage, and how the program reads it."""

    file: Path
    read: Callable[[], object]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Cut a file off, flip bits, or put other bytes into it; often near its head."""
    data = bytearray(content)
    kind = rng.randrange(6)
    if kind == 0:
        return bytes(data[: rng.randrange(len(data))])
    if kind == 1:
        start = rng.randrange(len(data))
        return bytes(data[:start] + rng.randbytes(rng.randrange(1, 64)) + data[start:])
    if kind == 2:
        start = rng.randrange(len(data))
        return bytes(data[:start] + data[start + rng.randrange(1, 256) :])
    near = len(data) if kind == 3 else min(len(data), 400)
    for _ in range(rng.choice((1, 1, 2, 8, 32))):
        place = rng.randrange(near)
        data[place] ^= 1 << rng.randrange(8)
    if kind == 5:  # numbers at the limits of their types
        place = rng.randrange(near)
        size = rng.choice((2, 4, 8))
        data[place : place + size] = rng.choice((b"\xff", b"\x7f", b"\0")) * size
    return bytes(data)


class Corpus:
    """Whole files of every kind, and a project around them."""

    def __init__(self, folder: Path) -> None:
        import SimpleITK as sitk

        self.folder = folder
        images = folder / "images"
        noise = np.random.default_rng(0).normal(0, 10, (SIZE,) * 3).astype(np.int16)
        for name in ("a.nii.gz", "b.nii"):
            save_nifti(images / name, noise)
        two = nib.Nifti2Image(noise, np.diag([-1.0, 1, 2, 1]))
        nib.save(two, folder / "two.nii")
        nib.save(nib.AnalyzeImage(noise, None), folder / "c.hdr")
        nib.save(nib.MGHImage(noise.astype(np.int32), np.eye(4)), folder / "d.mgz")
        for name in ("e.nrrd", "f.mha", "g.mhd", "h.gipl"):
            sitk.WriteImage(sitk.GetImageFromArray(noise), str(folder / name))
        self.series = write_oblique_series(folder / "series")
        self.project = Project.create(folder / "project", {"ball": 1})
        self.project.add(images, self.series)
        self.mask = save_nifti(folder / "masks" / "a.nii.gz", ball(0))
        self.project.set_label("a", self.mask)
        self.project.save_draft("b", ball(1).T.copy())
        self.run = self._predicted_run()
        self.targets = {
            "nifti": self._nifti(),
            "itk": [
                self._image(folder / name)
                for name in ("e.nrrd", "f.mha", "g.mhd", "h.gipl")
            ],
            "dicom": [
                Target(file, lambda: self._read(self.series))
                for file in sorted(self.series.iterdir())[:3]
            ],
            "json": self._json(),
            "toml": [
                Target(self.project.layout.project_file, self._look),
                Target(self.run.folder.config, self._look),
            ],
            "checkpoint": [],
        }

    def add_checkpoint(self) -> None:
        """A trained run; needs PyTorch."""
        import torch

        from napari_semiseg.engine import api

        torch.set_num_threads(1)
        config = TrainingConfig(
            method="supervised",
            steps=1,
            device="cpu",
            width=4,
            patch_zyx=(16, 16, 16),
            precision="fp32",
        )
        run = Run.create(self.project, config)
        for _ in api.train(self.project, config, run=run):
            pass
        case = self.project.case("b")

        def use() -> None:
            api.predict(self.project, run, case)

        self.targets["checkpoint"] = [Target(run.folder.last, use)]

    def _predicted_run(self) -> Run:
        run = Run.create(self.project, TrainingConfig(steps=5))
        run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
        run.append(Finished(run=run.id, reason="completed", step=5, seconds=1.0))
        case = self.project.case("b")
        labels = np.zeros(case.geometry.shape_zyx, np.uint8)
        worst = SliceScore(axis=0, index=2, score=0.4, reason="edge")
        made = prediction_of(
            run, case, labels, doubt=1, volumes_ml={"ball": 1.0}, slices=(worst,)
        )
        run.write_prediction(made, case.image)
        return run

    def _nifti(self) -> list[Target]:
        project, case = self.project, self.project.layout.case("a")
        predicted = self.run.folder.prediction("b")
        geometry = self.project.case("b").geometry
        images = self.folder / "images"
        files = (images / "a.nii.gz", images / "b.nii", self.folder / "two.nii")
        found = [self._image(file) for file in files]
        found += [self._image(self.folder / name) for name in ("c.hdr", "d.mgz")]
        return [
            *found,
            Target(self.mask, lambda: attach(project, self.mask.parent, dry_run=True)),
            Target(case.label, lambda: self._look().case("a").read_label()),
            Target(
                project.layout.case("b").draft,
                lambda: self._look().case("b").read_draft(),
            ),
            *(
                Target(file, lambda: self.run.read_prediction("b", geometry))
                for file in (predicted.labels, predicted.sdm, predicted.uncertainty)
            ),
        ]

    def _json(self) -> list[Target]:
        files = (
            self.project.layout.case("a").json,
            self.run.folder.environment,
            self.run.folder.events,
            self.run.folder.pid,
            self.run.folder.prediction("b").json,
        )
        return [Target(file, self._look) for file in files]

    def _image(self, file: Path) -> Target:
        return Target(file, lambda: self._read(file))

    def _read(self, path: Path) -> None:
        content_sha256(path)
        read_image(path)

    def _look(self) -> Project:
        """Everything of a project that is shown without its voxels, and an export."""
        project = Project.open(self.project.folder)
        for case in project.cases():
            holder = project.prediction_run(case.id)
            if holder is not None:
                holder.prediction_record(case.id)
        for run in project.runs():
            _ = (run.config, run.plan, run.status, run.seconds, run.steps_done)
        out = self.folder / "out"
        export(project, out, cases=["a"])
        shutil.rmtree(out)
        return project


def try_one(target: Target, content: bytes) -> str:
    """What becomes of a damaged file: "read", "refused", or a failure in words."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        answer = "failed: nothing said"
        try:
            answer = _answer(target, content)
        finally:
            os.write(writer, answer.encode()[:60_000])
            os._exit(0)
    os.close(writer)
    text, status, hangs = outcome(child, reader, SECONDS)
    if hangs:
        return f"failed: hangs for {SECONDS} s"
    if os.WIFSIGNALED(status):
        return f"failed: ended by signal {os.WTERMSIG(status)}"
    return text.decode()


def _answer(target: Target, content: bytes) -> str:
    warnings.simplefilter("ignore")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    target.file.write_bytes(content)
    try:
        target.read()
    except SemisegError as error:
        found = _UNREADABLE.search(str(error))
        twice = str(error).count(str(target.file)) > 1
        words = f"failed: not for a person: {error}" if found or twice else ""
        return words or f"refused: {error}"
    except BaseException:  # noqa: BLE001 - reported to the parent
        return f"failed: {traceback.format_exc()}"
    return "read"


def lying_headers(corpus: Corpus) -> list[tuple[Target, bytes]]:
    """Small files whose headers promise terabytes."""
    made = []
    big = 30_000
    for target in corpus.targets["nifti"][:3]:
        raw = target.file.read_bytes()
        packed = target.file.name.endswith(".gz")
        data = bytearray(gzip.decompress(raw) if packed else raw)
        place, kind = (16, "<i8") if data[:4] == b"\x1c\x02\0\0" else (40, "<i2")
        dims = np.array([3, big, big, big], kind).tobytes()
        data[place : place + len(dims)] = dims
        made.append((target, gzip.compress(bytes(data)) if packed else bytes(data)))
    for target in corpus.targets["itk"]:
        text = target.file.read_bytes()
        sizes = f"{SIZE} {SIZE} {SIZE}".encode()
        if sizes in text:
            lie = f"{big} {big} {big}".encode()
            made.append((target, text.replace(sizes, lie, 1)))
    for target in corpus.targets["dicom"]:
        text = target.file.read_bytes()
        rows = text.index(b"\x28\0\x10\0US\2\0") + 8
        lie = text[:rows] + b"\xff\xff" + text[rows + 2 :]
        made.append((target, lie))
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--kinds", nargs="+", choices=SHARES, default=list(SHARES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rng = random.Random(options.seed)
    counts: dict[str, dict[str, int]] = {}
    failures: list[str] = []
    total = sum(SHARES[kind] for kind in options.kinds)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus(Path(folder))
        if "checkpoint" in options.kinds:
            corpus.add_checkpoint()
        inputs = [
            (kind, *one)
            for kind, one in (("lies", lie) for lie in lying_headers(corpus))
        ]
        for kind in options.kinds:
            for _ in range(-(-options.inputs * SHARES[kind] // total)):
                target = rng.choice(corpus.targets[kind])
                inputs.append((kind, target, damaged(target.file.read_bytes(), rng)))
        for target in {one[1].file: one[1] for one in inputs}.values():
            answer = try_one(target, target.file.read_bytes())
            if answer != "read":
                failures.append(f"the whole {target.file.name}: {answer}")
        for number, (kind, target, content) in enumerate(inputs, 1):
            whole = target.file.read_bytes()
            answer = try_one(target, content)
            target.file.write_bytes(whole)
            word = answer.partition(":")[0]
            of_kind = counts.setdefault(kind, {"read": 0, "refused": 0, "failed": 0})
            of_kind[word] += 1
            if word == "failed":
                failures.append(f"{number} {kind} {target.file.name}: {answer}")
            if kind == "lies" and word == "read":
                failures.append(f"{number} a lying {target.file.name} was read")
            if number % 100 == 0:
                sys.stderr.write(f"{number}/{len(inputs)}\n")
    report = {"inputs": len(inputs), "counts": counts, "failures": failures}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
