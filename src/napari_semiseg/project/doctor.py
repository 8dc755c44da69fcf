"""Find what is wrong with a project folder, and mend what can be mended.

Mending deletes nothing but unfinished files: what cannot be used is moved to the folder
``set-aside`` of the project, under the path that it had.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_semiseg.core.text import count
from napari_semiseg.errors import ImageError, ProjectError, SemisegError
from napari_semiseg.io.atomic import (
    TEMPORARY,
    is_abandoned,
    read_json,
    remove_stale_temporaries,
)
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases import versions
from napari_semiseg.project.cases.history import (
    LabelChange,
    Reopened,
    SecondRead,
    Undone,
)
from napari_semiseg.project.cases.references import FileFacts
from napari_semiseg.project.cloud_folder import cloud_warning
from napari_semiseg.project.layout import Layout, foreign_entry, is_id
from napari_semiseg.project.migration import migrate_file, outdated_files
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run
from napari_semiseg.project.settings import FORMAT

if TYPE_CHECKING:
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.project.cases.case import Case

ASIDE = "set-aside"
"""Folder of a project for what could not be used."""

ADD_AGAIN = "; add its image again, and its mask is there"

FindingKind = Literal[
    "folder",
    "settings",
    "link",
    "unfinished",
    "case",
    "image",
    "mask",
    "run",
    "prediction",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes
    ----------
    kind : str
        What it is about.
    path : str
        Where, relative to the project.
    problem : str
        What is wrong, in words.
    remedy : str
        What mending does; where it can do nothing, what to do.
    mendable : bool
        Whether ``remedy`` is done by mending.
    mended : bool
        Whether it was done.
    """

    kind: FindingKind
    path: str
    problem: str
    remedy: str
    mendable: bool
    mended: bool = False


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a check of a project has found."""

    project: Path
    cases: int = 0
    runs: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def open(self) -> list[Finding]:
        """Findings that are still to be mended."""
        return [item for item in self.findings if not item.mended]


def check_project(
    folder: str | Path,
    *,
    mend: bool = False,
    images: str | Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Diagnosis:
    """Check a project: its records, images, masks, runs and predictions.

    Parameters
    ----------
    folder : path
        The project.
    mend : bool
        Mend what can be mended; without it nothing is written.
    images : path, optional
        Folder that missing images may have moved to; needs ``mend``.
    progress : callable
        Called with the number of cases and runs done, and of all of them.

    Returns
    -------
    Diagnosis
        Empty ``findings`` where all is well.

    Raises
    ------
    ProjectError
        The folder does not exist.
    """
    root = Path(folder).expanduser().resolve()
    if not root.is_dir():
        raise ProjectError(
            f"{folder}: expected a project folder, found nothing there; check the path"
        )
    return _Doctor(root, mend, images).examined(progress)


class _Doctor:
    """One check, from the outside in."""

    def __init__(self, root: Path, mend: bool, images: str | Path | None) -> None:
        self._root = root
        self._layout = Layout(root)
        self._mend = mend
        self._images = images
        self._aside = root / ASIDE / time.strftime("%Y%m%dT%H%M%S")
        self._findings: list[Finding] = []

    def examined(self, progress: Callable[[int, int], None]) -> Diagnosis:
        if warning := cloud_warning(self._root):
            self._note("folder", self._root, warning)
        self._links()
        self._unfinished()
        try:
            if not self._is_current():
                return Diagnosis(self._root, findings=self._findings)
            project = Project.open(self._root)
        except SemisegError as error:
            self._note("settings", self._layout.project_file, str(error))
            return Diagnosis(self._root, findings=self._findings)
        self._moved(project)
        names = _folders(self._layout.cases)
        runs = _folders(self._layout.runs)
        for done, name in enumerate(names, start=1):
            self._case(project, name)
            progress(done, len(names) + len(runs))
        for done, name in enumerate(runs, start=1):
            self._run(project, Run(self._layout.run(name)))
            progress(len(names) + done, len(names) + len(runs))
        return Diagnosis(self._root, len(names), len(runs), self._findings)

    # -- what is noted, what is done ---------------------------------------------

    def _note(
        self,
        kind: FindingKind,
        path: Path,
        problem: str,
        remedy: str = "",
        act: Callable[[], object] | None = None,
    ) -> bool:
        """Add a finding, mend it where that is asked for; whether it is mended."""
        mended = False
        if self._mend and act is not None:
            try:
                act()
                mended = True
            except (OSError, SemisegError) as error:
                problem = f"{problem}; mending failed: {error}"
        try:
            shown = path.relative_to(self._root).as_posix()
        except ValueError:
            shown = str(path)
        self._findings.append(
            Finding(kind, shown, problem, remedy, act is not None, mended)
        )
        return mended

    def _set_aside(self, path: Path) -> None:
        target = self._aside / path.relative_to(self._root)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(path, target)

    def _useless(
        self, kind: FindingKind, path: Path, problem: str, then: str = ""
    ) -> bool:
        return self._note(
            kind,
            path,
            problem,
            f"is moved to {ASIDE}{then}",
            lambda: self._set_aside(path),
        )

    # -- what is looked at -------------------------------------------------------

    def _links(self) -> None:
        for path in list(_own_entries(self._root)):
            problem = foreign_entry(path, self._root)
            if problem is not None:
                self._useless("link", path, problem)

    def _unfinished(self) -> None:
        for path in list(_own_entries(self._root)):
            if path.name.startswith(TEMPORARY) and is_abandoned(path):
                self._note(
                    "unfinished",
                    path,
                    "left by a write that was interrupted",
                    "is deleted; what it was to replace is whole",
                    lambda folder=path.parent: remove_stale_temporaries(folder),  # type: ignore[misc]
                )

    def _is_current(self) -> bool:
        """Migrate files of an earlier format; whether the project can be opened."""
        paths = outdated_files(self._layout)
        if not paths:
            return True
        failed: dict[Path, SemisegError] = {}

        def migrate() -> None:
            for path in paths:
                try:
                    migrate_file(path)
                except SemisegError as error:
                    if path == self._layout.project_file:
                        raise
                    failed[path] = error

        mended = self._note(
            "settings",
            self._layout.project_file,
            f"{count(len(paths), 'file')} of format 1",
            f"the project is brought to format {FORMAT}",
            migrate,
        )
        for path, error in failed.items():
            if path.name == self._layout.case("case").json.name:
                self._useless("case", path, _reason(error), ADD_AGAIN)
            else:
                self._useless("run", path.parent, _reason(error))
        return mended or self._layout.project_file not in paths

    def _moved(self, project: Project) -> None:
        """Point cases to their images in the folder that the user named."""
        if self._images is None or not self._mend:
            return
        try:
            report = project.relocate(self._images)
        except SemisegError as error:
            self._note("image", Path(self._images), _reason(error))
            return
        for name in report.added:
            self._findings.append(
                Finding(
                    "image",
                    f"cases/{name}/case.json",
                    "its image was missing",
                    f"is pointed to the image in {self._images}",
                    mendable=True,
                    mended=True,
                )
            )

    def _case(self, project: Project, name: str) -> None:
        folder = self._layout.case(name)
        if not folder.json.exists():
            self._note(
                "case",
                folder.path,
                "has no case.json, so that it is no case",
                "restore its case.json, or add its image again",
            )
            return
        if self._is_misnamed(name):
            return
        try:
            case = project.case(name)
        except ImageError as error:  # the label cannot be counted
            self._mask(project, name, folder.label, _reason(error))
            return
        except SemisegError as error:
            self._useless("case", folder.json, _reason(error), ADD_AGAIN)
            return
        self._image(case)
        readers = folder.reader_masks()
        masks = dict.fromkeys((folder.label, *readers.values()), project.labels)
        for path, labels in {**masks, folder.draft: None}.items():
            problem = _mask_problem(path, case, labels) if path.exists() else ""
            if problem:
                self._mask(project, name, path, problem)
        read = (one for one in case.record.history if isinstance(one, SecondRead))
        for reader in dict.fromkeys(one.reader for one in read):
            if reader not in readers:
                remedy = f"semiseg readers PROJECT --masks DIR --reader '{reader}'"
                self._note("mask", folder.reader(reader), "is missing", remedy)

    def _is_misnamed(self, name: str) -> bool:
        """Note a folder that is a copy of a case, or was renamed; mend both."""
        folder = self._layout.case(name)
        try:
            own = read_json(folder.json)["id"]
        except (ProjectError, KeyError, TypeError):
            return False  # a finding of another kind
        if own == name or not isinstance(own, str) or not is_id(own):
            return False
        home = self._layout.case(own)
        if home.json.exists():
            self._useless("case", folder.path, f"is a copy of case {own!r}")
            return True
        problem = f"was renamed: it is case {own!r}"
        if home.path.exists():
            self._note("case", folder.path, problem, f"move {home.path} away first")
        else:
            act = partial(os.rename, folder.path, home.path)
            self._note("case", folder.path, problem, "gets its name back", act)
        return True

    def _mask(self, project: Project, name: str, path: Path, problem: str) -> None:
        """A mask that cannot be used; of a label, the newest kept one comes back."""
        folder = self._layout.case(name)
        kept: list[Path] = []
        if path == folder.label:
            kept = versions.kept(folder)

        def act() -> None:
            self._set_aside(path)
            with project.changing(name) as case:
                for copy in reversed(kept):
                    if not _mask_problem(copy, case, project.labels):
                        versions.put(copy, folder.label)
                        _undo_until(project, case, FileFacts.of(copy))
                        return

        back = ", and the newest kept one that fits comes back" if kept else ""
        self._note("mask", path, problem, f"is moved to {ASIDE}{back}", act)

    def _image(self, case: Case) -> None:
        problem, _, remedy = case.image_problem.partition("; ")
        if problem:
            if "missing" in problem:
                remedy = (
                    "semiseg doctor PROJECT --mend --images FOLDER, with the folder "
                    "that the images are in now"
                )
            self._note("image", case.folder.json, problem, remedy)

    def _run(self, project: Project, run: Run) -> None:
        folder = run.folder
        try:
            run.folder.check()
        except SemisegError as error:
            self._useless("run", folder.path, _reason(error))
            return
        try:
            _ = (run.config, run.plan) if run.is_training else None
        except SemisegError as error:
            if run.started:
                remedy = (
                    "restore the file; the model and predictions stay where they are"
                )
                self._note("run", folder.path, str(error), remedy)
            else:
                self._useless("run", folder.path, _reason(error))
            return
        if run.status == "interrupted" and not run.started:
            self._useless("run", folder.path, "never began to train")
            return
        if run.status == "interrupted":
            self._note(
                "run",
                folder.path,
                f"was interrupted at step {run.steps_done}",
                "nothing is lost: resume it (or propose again), or leave it",
            )
        for path in (folder.last, folder.best):
            if path.exists() and not _is_whole_zip(path):
                self._useless("run", path, "is a damaged checkpoint")
        for name in _folders(folder.predictions):
            self._prediction(project, run, name)

    def _prediction(self, project: Project, run: Run, name: str) -> None:
        path = run.folder.prediction(name).path
        if not self._layout.case(name).json.exists():
            self._useless("prediction", path, "is of no case of this project")
            return
        try:
            case = project.case(name)
        except SemisegError:
            return  # the case has a finding of its own
        problem = ""
        if not run.has_prediction(name):
            problem = "is not whole"
        else:
            try:
                record = run.read_prediction(name, case.geometry).record
                if record.image_sha256 != case.record.sha256:
                    problem = "was made of another image"
            except SemisegError as error:
                problem = _reason(error)
        if problem:
            self._useless("prediction", path, problem, "; predict the case again")


def _mask_problem(path: Path, case: Case, labels: LabelScheme | None) -> str:
    """What is wrong with a mask; a draft may hold more values than classes."""
    try:
        values = read_labels(path, case.geometry)
        if labels is not None:
            labels.check(values, str(path))
    except SemisegError as error:
        return _reason(error)
    return ""


def _undo_until(project: Project, case: Case, label: FileFacts) -> None:
    """Note that the changes after an earlier label are undone, where it is known."""
    changes = [one for one in case.record.standing if isinstance(one, LabelChange)]
    files = [None if isinstance(one, Reopened) else one.file for one in changes]
    if label in files:
        for one in changes[files.index(label) + 1 :]:
            project.note(case, Undone(by="semiseg doctor", minutes=one.minutes))


def _is_whole_zip(path: Path) -> bool:
    """Whether the sums of a checkpoint, which is a zip file, are right."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError):
        return False


def _folders(parent: Path) -> list[str]:
    try:
        entries = list(os.scandir(parent))
    except OSError:
        return []
    return sorted(
        item.name for item in entries if item.is_dir() and not item.name.startswith(".")
    )


def _own_entries(root: Path) -> Iterator[Path]:
    """Files and folders that the program makes; links are not followed."""
    layout = Layout(root)
    for top in (layout.cases, layout.runs, root / "cache"):
        yield top
        for parent, folders, files in os.walk(top):
            yield from (Path(parent, name) for name in (*folders, *files))
    yield layout.project_file
    yield from root.glob(f"{TEMPORARY}*")


def _reason(error: Exception) -> str:
    """Message of an error without the path in front of it."""
    text = str(error)
    return text[text.index("expected") :] if "expected" in text else text
