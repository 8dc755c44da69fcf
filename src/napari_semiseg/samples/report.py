"""Write the scores of a run as one HTML page with numbers, curves and pictures."""

from __future__ import annotations

import html
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.case import CaseState
from napari_semiseg.core.labels import is_class
from napari_semiseg.errors import ProjectError
from napari_semiseg.imaging.rendering import (
    PLANES,
    grey,
    heat,
    page,
    picture,
    slices_through,
)
from napari_semiseg.io.atomic import write_text
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.runs.curves import loss_curves
from napari_semiseg.project.runs.process import Environment
from napari_semiseg.samples.virtual_patients import ABOUT

if TYPE_CHECKING:
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.evaluate import Evaluation
    from napari_semiseg.project.runs.run import Run

_COLUMNS = (
    ("hd95_mm", "HD95, mm", ".1f"),
    ("assd_mm", "ASSD, mm", ".2f"),
    ("volume_ml", "volume, mL", ".1f"),
    ("reference_ml", "reference, mL", ".1f"),
)


def write_report(project: Project, run: Run, evaluation: Evaluation, out: Path) -> Path:
    """Write an HTML page about the scores of a run of the demo; returns ``out``.

    Raises
    ------
    ProjectError
        No case was scored.
    """
    if not evaluation.cases:
        raise ProjectError(
            f"expected scores of at least one case of run '{run.id}', found none; "
            "predict the cases first"
        )
    masks = project.folder.parent / "cohort" / "labelsTr"
    body = "".join(
        (
            _head(project, run),
            _summary(project, run, evaluation),
            "<h2>Training</h2>",
            '<p class="soft">Weighted terms of the loss, logarithmic.</p>',
            loss_curves(run),
            "<h2>Worst, middle and best case</h2>",
            '<p class="key"><span><i style="background:var(--prediction)"></i>'
            'prediction</span><span><i class="dash"></i>reference</span></p>',
            *(_case(project, run, name, masks) for name in _chosen(evaluation)),
            "<h2>All cases scored</h2>",
            *(
                _table(run, evaluation, label.name, titled=len(project.labels) > 1)
                for label in project.labels
            ),
            _foot(run),
        )
    )
    write_text(out, page(f"{project.name}: {run.id}", body))
    return out


def _chosen(evaluation: Evaluation) -> list[str]:
    """Cases with the lowest, the middle and the highest Dice, without repeats."""
    dice = {
        name: fmean(metrics.dice for metrics in scores.values())
        for name, scores in evaluation.cases.items()
    }
    ranked = sorted(dice, key=dice.__getitem__)
    return list(dict.fromkeys((ranked[0], ranked[len(ranked) // 2], ranked[-1])))


def _head(project: Project, run: Run) -> str:
    names = ", ".join(label.name for label in project.labels)
    return (
        f"<h1>{html.escape(project.name)}</h1>"
        f'<p class="soft">{html.escape(names)} · run {html.escape(run.id)}</p>'
        f'<p class="note">{html.escape(ABOUT)}</p>'
    )


def _summary(project: Project, run: Run, evaluation: Evaluation) -> str:
    human = (CaseState.LABELLED, CaseState.PARTIAL)
    labelled = len(project.cases(state=human))
    every = [each for case in evaluation.cases.values() for each in case.values()]
    plan = run.plan
    facts = {
        "mean Dice": f"{fmean(each.dice for each in every):.3f}",
        "mean HD95": f"{fmean(each.hd95_mm for each in every):.1f} mm",
        "cases scored": str(len(evaluation.cases)),
        "cases with a label": str(labelled),
        "method": run.config.method,
        "training": f"{run.seconds / 60:.1f} min",
        "steps": f"{run.steps_done:,}",
        "device": plan.device if plan is not None else run.config.device,
    }
    cells = "".join(
        f"<div><dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd></div>"
        for key, value in facts.items()
    )
    return f"<dl>{cells}</dl>"


def _case(project: Project, run: Run, name: str, masks: Path) -> str:
    """Three planes with outlines, and the uncertainty in the first of them."""
    case = project.case(name)
    image = case.read_image().data
    prediction = run.read_prediction(name, case.geometry)
    found = prediction.labels > 0
    reference = _reference(case, masks)
    outlines = [(found, "prediction")]
    if reference is not None:
        outlines.append((reference, "reference"))
    low, high = (float(value) for value in np.percentile(image, (1, 99.7)))
    views = slices_through(found if reference is None else reference, case.geometry)
    figures = [
        (plane, picture(grey(view.of(image), low, high), view, outlines, title=name))
        for plane, view in zip(PLANES, views, strict=True)
    ]
    uncertainty = heat(views[0].of(prediction.uncertainty))
    title = f"{name}, uncertainty"
    drawn = picture(uncertainty, views[0], outlines[:1], title=title)
    figures.append(("uncertainty, axial", drawn))
    cells = "".join(
        f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>"
        for caption, drawn in figures
    )
    return f'<p><b>{html.escape(name)}</b></p><div class="row">{cells}</div>'


def _reference(case: Case, masks: Path) -> NDArray[np.bool_] | None:
    path = masks / f"{case.id}.nii.gz"
    if not path.exists():
        return None
    return is_class(read_labels(path, case.geometry))


def _table(run: Run, evaluation: Evaluation, label: str, *, titled: bool) -> str:
    rows = {
        name: scores[label]
        for name, scores in evaluation.cases.items()
        if label in scores
    }
    body = "".join(
        f"<tr><td>{html.escape(name)}</td>"
        f'<td><span class="bar"><i style="width:{metrics.dice:.1%}"></i></span>'
        f"{metrics.dice:.3f}</td>"
        + "".join(
            f"<td>{getattr(metrics, key):{form}}</td>" for key, _, form in _COLUMNS
        )
        + f"<td>{run.prediction_record(name).score.uncertainty:.3f}</td></tr>"
        for name, metrics in sorted(rows.items())
    )
    means = "".join(
        f"<td>{fmean(getattr(metrics, key) for metrics in rows.values()):{form}}</td>"
        for key, _, form in (("dice", "", ".3f"), *_COLUMNS)
    )
    heads = "".join(f"<th>{title}</th>" for _, title, _ in _COLUMNS)
    caption = f"<h3>{html.escape(label)}</h3>" if titled else ""
    return (
        f"{caption}<table><thead><tr><th>case</th><th>Dice</th>{heads}"
        f"<th>uncertainty</th></tr></thead><tbody>{body}</tbody>"
        f"<tfoot><tr><td>mean</td>{means}<td></td></tr></tfoot></table>"
    )


def _foot(run: Run) -> str:
    machine = Environment.read(run.folder.environment) or Environment()
    packages = ", ".join(
        f"{name} {version}" for name, version in machine.packages.items()
    )
    system = f"{machine.platform} · {machine.cores or '?'} cores"
    return (
        f'<footer class="soft"><p>{html.escape(system)}<br>{html.escape(packages)}</p>'
        "<p>Dice and distances compare each prediction with a reference that training "
        "never saw. Brain template: ICBM 152 2009, Fonov et al., NeuroImage 54 (2011) "
        "313-327. For research; not a medical device.</p></footer>"
    )
