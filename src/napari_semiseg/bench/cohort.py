"""One project per list of labelled cases; test cases are out of training's reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.core.case import Split
from napari_semiseg.core.events import Staged
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.project.layout import Layout
from napari_semiseg.project.store import Project

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_semiseg.bench.layout import Dataset
    from napari_semiseg.bench.spec import Benchmark
    from napari_semiseg.core.labels import LabelScheme

AUTHOR = "semiseg bench"
AT_ONCE = 16
"""Images that are added between two signs of progress."""


def make_project(
    folder: Path,
    benchmark: Benchmark,
    labelled: str,
    dataset: Dataset,
    scheme: LabelScheme,
) -> Iterator[Staged]:
    """Make the project of one list, or complete the one that is there.

    Only masks of the labelled list come into it.

    Parameters
    ----------
    folder : Path
        The project.
    benchmark : Benchmark
        The comparison.
    labelled : str
        Name of the list.

    Yields
    ------
    Staged
        How many cases are in it.

    Raises
    ------
    SemisegError
        The folder holds a project of other cases, an image cannot be used, or a test
        image is one of the training images under another name.
    """
    if Layout(folder).project_file.exists():
        project = Project.open(folder)
    else:
        project = Project.create(folder, scheme, name=labelled)
    training = [*benchmark.labelled[labelled], *benchmark.unlabelled_beside(labelled)]
    splits = {dataset.case(name): Split.TRAIN for name in training}
    splits |= {dataset.case(name): Split.TEST for name in benchmark.test}
    known = {case.id: case.split for case in project.cases()}
    moved = any(splits.get(name) != split for name, split in known.items())
    if moved or project.labels != scheme:
        raise ProjectError(
            f"{folder}: expected the cases and classes of list '{labelled}', found "
            "others; choose another --out"
        )
    stage = f"Collecting {labelled}"
    done = 0
    for split, names in ((Split.TRAIN, training), (Split.TEST, benchmark.test)):
        for some in _parts(names):
            new = [name for name in some if dataset.case(name) not in known]
            if new:
                _add(project, dataset, new, split)
            done += len(some)
            yield Staged(stage=stage, done=done, total=len(splits))
    refuse_twins(project)
    for name in benchmark.labelled[labelled]:
        case = project.case(dataset.case(name))
        if not case.has_label:
            mask = dataset.read_mask(name, case.geometry)
            project.set_label(case.id, mask, by=AUTHOR)


def _add(
    project: Project, dataset: Dataset, names: Sequence[str], split: Split
) -> None:
    if not dataset.channels:
        project.add(*(dataset.image(name) for name in names), split=split)
        return
    report = project.add(dataset.folder, cases=names)
    for name in names:
        if name not in report.added:
            reason = next(iter(report.skipped.values()), "it was not found")
            raise ProjectError(f"case '{name}' cannot be used: {reason}")
        project.set_split(name, split)


def refuse_twins(project: Project) -> None:
    """Refuse a test image that is also learned from, under another name.

    Raises
    ------
    ConfigError
        Names both.
    """
    cases = project.cases()
    seen = {case.record.sha256: case.id for case in cases if case.split is Split.TRAIN}
    for case in cases:
        twin = seen.get(case.record.sha256)
        if case.split is Split.TEST and twin is not None:
            raise ConfigError(
                f"expected test images that training never sees, found that test case "
                f"'{case.id}' is the same image as '{twin}'; take one off its list and "
                "choose another --out"
            )


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), AT_ONCE):
        yield names[start : start + AT_ONCE]
