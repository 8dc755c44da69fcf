"""Every path of a project folder, in one place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from napari_semiseg.errors import ProjectError


def is_id(text: str) -> bool:
    """Whether a text names a folder right inside another one."""
    reserved = text in ("", ".", "..") or "\0" in text
    return not reserved and Path(text).name == text


def _inside(parent: Path, name: str) -> Path:
    """Path of a folder right inside another one.

    Raises
    ------
    ProjectError
        The name would lead elsewhere.
    """
    if not is_id(name):
        raise ProjectError(
            f"expected the id of a case or a run, found {name!r}, which is no name of "
            f"a folder; choose another"
        )
    return parent / name


def refuse_foreign(path: Path, root: Path) -> None:
    """Refuse links and devices in the place of a project's own files.

    Parameters
    ----------
    path : Path
        A file or folder of a project, looked at with all that is right inside it.
    root : Path
        The project; links that stay in it are taken as they are.

    Raises
    ------
    ProjectError
        A link leads out of the project, or something is neither file nor folder.
    """
    entries = [path]
    if path.is_dir():
        entries += [Path(entry) for entry in os.scandir(path) if not _plain(entry)]
    for entry in entries:
        problem = foreign_entry(entry, root)
        if problem is not None:
            raise ProjectError(f"{entry}: {problem}")


def foreign_entry(entry: Path, root: Path) -> str | None:
    """Say why an entry cannot belong to a project; None where it can."""
    if entry.is_symlink() and not entry.resolve().is_relative_to(root.resolve()):
        return (
            "expected a file or folder of the project, found a link that leads out of "
            "it; put what it leads to in its place, or delete it"
        )
    if entry.exists() and not (entry.is_file() or entry.is_dir()):
        return (
            "expected a file of the project, found neither file nor folder; delete it"
        )
    return None


def _plain(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of a whole project."""

    root: Path

    @property
    def project_file(self) -> Path:
        """Name, format version and labels."""
        return self.root / "project.toml"

    @property
    def cases(self) -> Path:
        """Holds one folder per case."""
        return self.root / "cases"

    @property
    def runs(self) -> Path:
        """Holds one folder per training."""
        return self.root / "runs"

    def check(self) -> None:
        """Refuse links that lead out of the project; see `refuse_foreign`."""
        for part in (self.project_file, self.cases, self.runs, self.root / "cache"):
            if part.is_symlink() or part == self.project_file:
                refuse_foreign(part, self.root)

    def case(self, case_id: str) -> CaseFolder:
        """Folder of a case, there or not."""
        return CaseFolder(_inside(self.cases, case_id))

    def run(self, run_id: str) -> RunFolder:
        """Folder of a run, there or not."""
        return RunFolder(_inside(self.runs, run_id))


class HasLayout(Protocol):
    """A project, as far as the paths in it matter."""

    @property
    def layout(self) -> Layout:
        """Every path in its folder."""


@dataclass(frozen=True, slots=True)
class CaseFolder:
    """Paths of one case; written by the annotator's side only."""

    path: Path

    def check(self) -> None:
        """Refuse links that lead out of the project; see `refuse_foreign`."""
        for part in (self.path, self.previous):
            refuse_foreign(part, self.path.parents[1])

    @property
    def json(self) -> Path:
        """The case's record."""
        return self.path / "case.json"

    @property
    def label(self) -> Path:
        """Human annotation; 255 where nobody has looked yet."""
        return self.path / "label.nii.gz"

    @property
    def draft(self) -> Path:
        """Autosave of edits that are not accepted yet."""
        return self.path / "draft.nii.gz"

    @property
    def previous(self) -> Path:
        """Holds the labels that newer ones took the place of."""
        return self.path / "previous"


@dataclass(frozen=True, slots=True)
class PredictionFolder:
    """Paths of one stored prediction; it is there when ``json`` is."""

    path: Path

    def check(self) -> None:
        """Refuse links that lead out of the project; see `refuse_foreign`."""
        refuse_foreign(self.path, self.path.parents[3])

    @property
    def labels(self) -> Path:
        """Predicted voxel values."""
        return self.path / "labels.nii.gz"

    @property
    def sdm(self) -> Path:
        """Signed distance in mm, one volume per class."""
        return self.path / "sdm.nii.gz"

    @property
    def uncertainty(self) -> Path:
        """Uncertainty in [0, 1]."""
        return self.path / "uncertainty.nii.gz"

    @property
    def json(self) -> Path:
        """Provenance and scores; written last."""
        return self.path / "prediction.json"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of one run; written by it only, but for two requests to it."""

    path: Path

    def check(self) -> None:
        """Refuse links that lead out of the project; see `refuse_foreign`."""
        for part in (self.path, self.checkpoints, self.predictions):
            refuse_foreign(part, self.path.parents[1])

    @property
    def config(self) -> Path:
        """The training as asked for."""
        return self.path / "config.toml"

    @property
    def plan(self) -> Path:
        """What the engine decided."""
        return self.path / "plan.json"

    @property
    def environment(self) -> Path:
        """Versions and machine the run was created on."""
        return self.path / "environment.json"

    @property
    def events(self) -> Path:
        """The log: one event per line."""
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        """Output of the process, for people."""
        return self.path / "log.txt"

    @property
    def pid(self) -> Path:
        """Process that works, or last worked, on the run."""
        return self.path / "pid"

    @property
    def stop(self) -> Path:
        """Is there when the run is asked to end."""
        return self.path / "stop"

    @property
    def prediction_requests(self) -> Path:
        """Cases to predict while the run goes on."""
        return self.path / "wanted.json"

    @property
    def checkpoints(self) -> Path:
        """Holds the checkpoints."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """Newest checkpoint: the model, and all that is needed to go on."""
        return self.checkpoints / "last.pt"

    @property
    def best(self) -> Path:
        """Checkpoint with the best validation score, where there is one."""
        return self.checkpoints / "best.pt"

    @property
    def predictions(self) -> Path:
        """Holds one folder per predicted case."""
        return self.path / "predictions"

    def prediction(self, case_id: str) -> PredictionFolder:
        """Folder of a prediction, there or not."""
        return PredictionFolder(_inside(self.predictions, case_id))
