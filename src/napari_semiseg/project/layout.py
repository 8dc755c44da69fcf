"""Every path of a project folder, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


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

    def case(self, case_id: str) -> CaseFolder:
        """Folder of a case, there or not."""
        return CaseFolder(self.cases / case_id)

    def run(self, run_id: str) -> RunFolder:
        """Folder of a run, there or not."""
        return RunFolder(self.runs / run_id)


@dataclass(frozen=True, slots=True)
class CaseFolder:
    """Paths of one case; written by the annotator's side only."""

    path: Path

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
    """Paths of one run; written by that run only, but for ``stop``."""

    path: Path

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
        return PredictionFolder(self.predictions / case_id)
