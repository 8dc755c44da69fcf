"""Make a project per list of labelled cases, with test cases out of reach."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.core.case import Split
from napari_semiseg.core.events import Staged
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.experiments.checks import refuse_duplicates
from napari_semiseg.project.layout import Layout
from napari_semiseg.project.project import Project

if TYPE_CHECKING:
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.experiments.benchmark.dataset import RawDataset
    from napari_semiseg.experiments.benchmark.spec import Benchmark

AUTHOR = "semiseg bench"
AT_ONCE = 16
"""Images that are added between two events."""


def make_project(
    folder: Path,
    benchmark: Benchmark,
    labelled: str,
    dataset: RawDataset,
    scheme: LabelScheme,
) -> Iterator[Staged]:
    """Make the project of a list of labelled cases, or complete the one there.

    Only masks of the labelled list come into it.
    """
    if Layout(folder).project_file.exists():
        project = Project.open(folder)
    else:
        project = Project.create(folder, scheme, name=labelled)
    training = benchmark.training_cases(labelled)
    splits = {dataset.case(name): Split.TRAIN for name in training}
    splits |= {dataset.case(name): Split.TEST for name in benchmark.test}
    known = {case.id: case.split for case in project.cases()}
    moved = any(splits.get(name) != split for name, split in known.items())
    # Without a run it is one whose making was interrupted, which is completed below.
    other = moved and (bool(project.runs()) or not known.keys() <= splits.keys())
    if other or project.labels != scheme:
        raise ProjectError(
            f"{folder}: expected the cases and classes of list '{labelled}', found "
            "others; choose another --out"
        )
    stage = f"Collecting {labelled}"
    done = 0
    for split, names in ((Split.TRAIN, training), (Split.TEST, benchmark.test)):
        for start in range(0, len(names), AT_ONCE):
            part = names[start : start + AT_ONCE]
            new = [name for name in part if dataset.case(name) not in known]
            if new:
                _add(project, dataset, new, split)
            done += len(part)
            yield Staged(stage=stage, done=done, total=len(splits))
    for case in project.cases():
        project.set_split(case.id, splits.get(case.id, case.split))
    refuse_duplicates(project)
    for name in benchmark.labelled[labelled]:
        case = project.case(dataset.case(name))
        if not case.has_label:
            mask = dataset.read_mask(name, case.geometry)
            project.set_label(case.id, mask, by=AUTHOR)


def _add(
    project: Project, dataset: RawDataset, names: Sequence[str], split: Split
) -> None:
    if not dataset.has_channels:
        project.add(*(dataset.image(name) for name in names), split=split)
        return
    report = project.add(dataset.folder, cases=names)
    for name in names:
        if name not in report.added:
            reason = next(iter(report.skipped.values()), "it was not found")
            raise ProjectError(f"case '{name}' cannot be used: {reason}")


def refuse_absent_classes(
    benchmark: Benchmark, scheme: LabelScheme, shown: Mapping[str, Collection[int]]
) -> None:
    """Refuse a class that no mask of a labelled list shows: it cannot be learned.

    Where the test masks do not show it either, every method would score Dice 1 in it.
    ``shown`` holds the values in each mask by id, from `Dataset.check`.
    """
    anywhere = set().union(*shown.values())
    for labelled, names in benchmark.labelled.items():
        here = set().union(*(shown[name] for name in names))
        missing = next((item for item in scheme if item.value not in here), None)
        if missing is None:
            continue
        others = [item for item in scheme if item.value in anywhere]
        advice = "label some"
        if others and missing not in others:
            named = " ".join(f"--label '{item.value}={item.name}'" for item in others)
            advice += f", or leave the class out with {named}"
        raise ConfigError(
            f"expected labelled masks that show '{missing.name}' ({missing.value}) in "
            f"list '{labelled}', found none; {advice}"
        )
