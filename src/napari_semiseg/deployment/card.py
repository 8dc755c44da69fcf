"""Write the card of an exported model: what it was made from, and what it is not."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.events import Validated
from napari_semiseg.core.text import count, duration, markdown_table
from napari_semiseg.imaging.metrics import overlap
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.cases.history import Accepted, Labelled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_semiseg.deployment.pipeline import Pipeline
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

LIMITS = """\
- Not a medical device; for research. A person must check each mask before it is used.
- Known for scans such as those above. Other scanners, protocols, patients and diseases
  were not tested unless the table says so.
- A structure that is not in the list is background here.
- `model.onnx` computes in single precision. A training that computed in bfloat16 has
  predictions that differ in a few voxels at the surface of structures."""


def model_card(
    project: Project, run: Run, pipeline: Pipeline, licence: str = ""
) -> str:
    """Describe a model in Markdown: data, labels, time, scores, people, limits."""
    usable = [one for one in project.cases() if one.state is not CaseState.EXCLUDED]
    training = [one for one in usable if one.split is Split.TRAIN]
    labelled = [one for one in training if one.human_verified]
    when = time.strftime("%Y-%m-%d", time.gmtime(run.created))
    names = ", ".join(item.name for item in project.labels)
    images = ", ".join(pipeline.channels)
    took = duration(run.seconds)
    whole = sum(one.annotated_fraction == 1 for one in labelled)
    facts = {
        "Structures": names,
        "Images of a case": images,
        "Training": f"{when}, method {pipeline.method}, {pipeline.step} steps, {took}",
        "Run": f"{pipeline.run} of project {project.name}",
        "Scans for training": f"{count(len(labelled), 'labelled scan')} ({whole} of "
        f"them whole) and {count(len(training) - len(labelled), 'scan')} without a "
        "label",
        "Voxels of the scans": _range(usable),
        "Voxels it works on": f"{_edges(pipeline.spacing_mm)} mm (z, y, x)",
        "Written by": pipeline.written_by,
        "Licence": licence or "not stated: say it here before you pass the model on",
    }
    parts = [
        f"# {project.name}: segmentation of {names}",
        markdown_table(("", ""), facts.items()),
        "## Scores on scans that were kept aside",
        _scores(project, run, pipeline.step, usable),
        "## Who labelled and corrected",
        _people(training),
        "## Limits",
        LIMITS,
        "## Use",
        "`semiseg run-model FOLDER IMAGE… --out MASKS`; `pipeline.json` says what it "
        "does.",
    ]
    return "\n\n".join(parts) + "\n"


def _range(cases: Sequence[Case]) -> str:
    """Median, smallest and largest voxels."""
    spacing = np.array([case.geometry.spacing_mm for case in cases])
    low, middle, high = (
        _edges(values)
        for values in (spacing.min(0), np.median(spacing, axis=0), spacing.max(0))
    )
    if low == high:
        return f"{low} mm (z, y, x)"
    return f"{middle} mm (z, y, x), from {low} to {high}"


def _edges(spacing: Sequence[float]) -> str:
    return " x ".join(f"{edge:.3g}" for edge in spacing)


def _scores(project: Project, run: Run, step: int, cases: Iterable[Case]) -> str:
    """Dice of validation and test cases that a person labelled, where predicted."""
    rows = []
    for split in (Split.VALIDATION, Split.TEST):
        found: dict[str, list[float]] = defaultdict(list)
        aside = [
            case
            for case in cases
            if case.split is split
            and case.human_verified
            and run.is_predicted(case, step, maps=False)
        ]
        for case in aside:
            truth = case.read_label()
            mask = run.folder.prediction(case.id).labels
            assert truth is not None
            scores = overlap(read_labels(mask, case.geometry), truth, project.labels)
            for name, value in scores.dice.items():
                found[name].append(value)
        rows += [
            (f"{name}, {count(len(aside), f'{split} scan')}", f"{np.mean(values):.3f}")
            for name, values in found.items()
        ]
    if rows:
        return markdown_table(("Structure", "Mean Dice"), rows)
    checks = [event for event in run.events() if isinstance(event, Validated)]
    if not checks:
        return "None were kept aside and predicted: how good it is was not measured."
    last = checks[-1]
    rows = [(name, f"{value:.3f}") for name, value in last.dice.items()]
    heads = ("Structure", f"Mean Dice of the validation scans at step {last.step}")
    return markdown_table(heads, rows)


def _people(cases: Iterable[Case]) -> str:
    """Count what each person did with the training cases, and the active minutes."""
    rows: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0])
    for case in cases:
        for entry in case.record.standing:
            row = rows[entry.by]
            row[0] += isinstance(entry, Labelled)
            row[1] += isinstance(entry, Accepted)
            row[2] += entry.minutes or 0.0
    return markdown_table(
        ("Person", "Masks drawn or corrected", "Accepted as predicted", "Minutes"),
        (
            (name, f"{drawn:.0f}", f"{accepted:.0f}", f"{minutes:.0f}")
            for name, (drawn, accepted, minutes) in sorted(rows.items())
            if drawn or accepted or minutes
        ),
    )
