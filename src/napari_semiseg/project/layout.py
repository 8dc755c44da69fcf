"""Define every path of a project folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Protocol

from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import LOCK

MASK_ENDING, EXIT = ".nii.gz", ".exit"


def is_id(text: str) -> bool:
    """Whether a text names a folder right inside another one."""
    reserved = text in ("", ".", "..") or "\0" in text
    return not reserved and os.path.basename(text) == text


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
    entries = [os.fspath(path)]
    if path.is_dir():
        with os.scandir(path) as inside:
            entries += [entry.path for entry in inside if not _plain(entry)]
    _refuse(entries, root)


def _refuse(entries: Iterable[str], root: Path) -> None:
    """Refuse the first entry that cannot belong to a project."""
    for entry in entries:
        try:
            mode = os.lstat(entry).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        plain = S_ISDIR(mode) or S_ISREG(mode)
        problem = None if plain else foreign_entry(Path(entry), root)
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


class SubPath:
    """Name of a file or folder right inside a folder; read, it is its path."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: Folder, _type: type[Folder]) -> Path:
        return folder.path / self.name


@dataclass(frozen=True)
class Folder:
    """A folder of a project; `SubPath` attributes are the paths in it."""

    path: Path

    def _entries(self) -> list[str]:
        """The folder, and all paths in it that the program uses."""
        parent, names = os.fspath(self.path), vars(type(self)).values()
        known = (item.name for item in names if isinstance(item, SubPath))
        return [parent, *(f"{parent}{os.sep}{name}" for name in known)]


class Layout(Folder):
    """Paths of a whole project."""

    project_file = SubPath("project.toml")
    """Name, format version and labels."""
    cases = SubPath("cases")
    """Holds one folder per case."""
    runs = SubPath("runs")
    """Holds one folder per training."""
    audit = SubPath("audit.json")
    """Slices whose labels are to be checked."""
    cache = SubPath("cache")
    """Holds scans and labels as trainings use them."""

    def check(self) -> None:
        """Refuse links that lead out of the project; see `refuse_foreign`."""
        parts = (self.project_file, self.cases, self.runs, self.cache, self.audit)
        for part in parts:
            if part.is_symlink() or part == self.project_file:
                refuse_foreign(part, self.path)

    def case(self, case_id: str) -> CaseFolder:
        """Folder of a case, there or not."""
        return CaseFolder(_inside(self.cases, case_id))

    def run(self, run_id: str) -> RunFolder:
        """Folder of a run, there or not."""
        return RunFolder(_inside(self.runs, run_id))


class HasLayout(Protocol):
    """A project, as far as the paths in it matter."""

    layout: Layout


class CaseFolder(Folder):
    """Paths of one case; written by the annotator's side only."""

    json = SubPath("case.json")
    """The case's record."""
    label = SubPath("label.nii.gz")
    """Human annotation; 255 where not annotated."""
    draft = SubPath("draft.nii.gz")
    """Autosave of edits that are not accepted yet."""
    previous = SubPath("previous")
    """Holds the labels that newer ones took the place of."""
    readers = SubPath("readers")
    """Holds the masks of further readers, by their names."""
    lock = SubPath(LOCK)
    """By which programs keep each other from changing the case."""

    def check(self) -> None:
        """Refuse links that lead out of the project; see `refuse_foreign`.

        Only paths that the program uses are looked at: to list the folders of
        thousands of cases takes longer than all else.
        """
        _refuse(self._entries(), self.path.parents[1])
        for part in (self.previous, self.readers):
            refuse_foreign(part, self.path.parents[1])

    def reader(self, name: str) -> Path:
        """Mask of a further reader, there or not."""
        return self.readers / f"{name}{MASK_ENDING}"

    def reader_masks(self) -> dict[str, Path]:
        """Masks of further readers that are there, by the names of the readers."""
        paths = sorted(self.readers.glob(f"[!.]*{MASK_ENDING}"))
        return {path.name.removesuffix(MASK_ENDING): path for path in paths}


class PredictionFolder(Folder):
    """Paths of one stored prediction; it is there when ``json`` is."""

    labels = SubPath("labels.nii.gz")
    """Predicted voxel values."""
    sdm = SubPath("sdm.nii.gz")
    """Signed distance in mm, one volume per class."""
    uncertainty = SubPath("uncertainty.nii.gz")
    """Uncertainty in [0, 1]."""
    feature_maps = SubPath("feature_maps.npz")
    """The decoder's maps, where they are wanted."""
    json = SubPath("prediction.json")
    """Provenance and scores; written last."""

    def check(self) -> None:
        """Refuse links that lead out of the project; see `refuse_foreign`."""
        _refuse(self._entries(), self.path.parents[3])


class RunFolder(Folder):
    """Paths of one run; written by it only, but for two requests to it."""

    config = SubPath("config.toml")
    """The training as asked for."""
    command = SubPath("command.json")
    """In the place of that: the program whose masks the run holds."""
    plan = SubPath("plan.json")
    """What the engine decided."""
    environment = SubPath("environment.json")
    """Versions and machine the run was created on."""
    events = SubPath("events.jsonl")
    """The log: one event per line."""
    log = SubPath("log.txt")
    """Output of the process, for people."""
    pid = SubPath("pid")
    """Process that works, or last worked, on the run."""
    workers = SubPath("workers")
    """Holds a log and a claim for each process that predicts beside others."""
    stop = SubPath("stop")
    """Is there when the run is asked to end."""
    submitted = SubPath("submitted.json")
    """Verb that another computer was asked to run."""
    prediction_requests = SubPath("wanted.json")
    """Cases to predict while the run goes on."""
    checkpoints = SubPath("checkpoints")
    """Holds the checkpoints."""
    last = SubPath("checkpoints/last.pt")
    """Newest checkpoint: the model, and all that is needed to go on."""
    best = SubPath("checkpoints/best.pt")
    """Checkpoint with the best validation score, where there is one."""
    pictures = SubPath("pictures.npz")
    """How a slice of one scan was segmented in the course of the training."""
    predictions = SubPath("predictions")
    """Holds one folder per predicted case."""

    def check(self) -> None:
        """Refuse links that lead out of the project; see `refuse_foreign`."""
        for part in (self.path, self.checkpoints, self.predictions, self.workers):
            refuse_foreign(part, self.path.parents[1])

    def exit_code(self, session: str) -> Path:
        """Exit code of a verb that has ended on another computer."""
        return self.path / f"{session}{EXIT}"

    def exit_codes(self) -> list[Path]:
        """Exit codes that nobody has read yet."""
        return sorted(self.path.glob(f"*{EXIT}"))

    def prediction(self, case_id: str) -> PredictionFolder:
        """Folder of a prediction, there or not."""
        return PredictionFolder(_inside(self.predictions, case_id))
