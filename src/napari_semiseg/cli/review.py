"""The review: evaluate, compare, readers, suggest, accept, reopen and others."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from napari_semiseg.active_learning.registry import DEFAULT, strategies
from napari_semiseg.assistants.registry import DEFAULT as FIRST
from napari_semiseg.assistants.registry import assistants
from napari_semiseg.cli import options, render
from napari_semiseg.cli.display import progress_bar
from napari_semiseg.core.case import CaseState
from napari_semiseg.core.text import count, millilitres, number
from napari_semiseg.errors import ConfigError, ProjectError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_semiseg.active_learning.suggest import VolumeSuggestion
    from napari_semiseg.assistants.prompts import Kind, Prompt
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.model_changes import CaseChange
    from napari_semiseg.project.runs.run import Run

Cases = Annotated[list[str], typer.Argument(metavar="CASE…", help="Ids of the cases.")]
SCORES = {
    "dice": "Dice ",
    "jaccard": "Jaccard ",
    "hd95_mm": "HD95 mm ",
    "assd_mm": "ASSD mm ",
    "volume_ml": "mL ",
    "reference_ml": "reference mL ",
}

AGREEMENT = ("dice", "hd95_mm", "assd_mm")


def evaluate(
    project: options.ProjectPath,
    masks: options.Masks,
    run: options.RunId = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Score these masks instead of a run's."),
    ] = None,
    cases: options.CaseList = None,
    json: options.Json = False,
) -> None:
    """Score predictions against reference masks."""
    from napari_semiseg.project.review.evaluate import evaluate as score

    opened = options.open_project(project)
    with progress_bar("Scoring", quiet=json) as progress:
        result = score(
            opened,
            masks,
            run=options.find_run(opened, run),
            predictions=predictions,
            cases=options.read_list(cases),
            progress=progress,
        )
    scores = {
        case: {name: metrics.model_dump() for name, metrics in classes.items()}
        for case, classes in result.cases.items()
    }
    if json:
        render.emit({"cases": scores, "mean": result.mean})
        return
    render.table(
        {"case": case, "label": name}
        | {head: f"{values[key]:.3f}" for key, head in SCORES.items()}
        for case, classes in (scores | {"mean": result.mean}).items()
        for name, values in classes.items()
    )


def compare(
    project: options.ProjectPath,
    run: options.RunId = None,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Earlier run; the one that --run began with by default."
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Say what changed from one model to the next, on the cases nobody has verified."""
    from napari_semiseg.project.review.model_changes import NOTABLE, compare_models

    opened = options.open_project(project)
    with progress_bar("Comparing", quiet=json) as progress:
        found = compare_models(
            opened,
            options.find_run(opened, run),
            options.find_run(opened, before),
            progress=progress,
        )
    quality = found.quality
    if json:
        known = quality or (None, None)
        render.emit(
            {
                "run": found.run,
                "before": found.before,
                "cases": [_changed(item) for item in found.cases],
                "notable": [item.case for item in found.notable],
                "mean": {name: asdict(item) for name, item in found.mean.items()},
                "estimated_dice_before": known[0],
                "estimated_dice": known[1],
            }
        )
        return
    render.table(
        {
            "case": name,
            "label": label,
            "Dice of the two ": number(item.dice),
            "mL before ": millilitres(item.before_ml),
            "mL after ": millilitres(item.after_ml),
        }
        for name, classes in (
            *((item.case, item.classes) for item in found.cases),
            ("mean", found.mean),
        )
        for label, item in classes.items()
    )
    render.say(
        f"\n{found.run} against {found.before}: {len(found.notable)} of "
        f"{count(len(found.cases), 'case')} changed notably (Dice below {NOTABLE:g})."
    )
    if quality is not None:
        render.say(f"Estimated Dice: {quality[0]:.2f} before, {quality[1]:.2f} now.")


def readers(
    project: options.ProjectPath,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Take in masks of a reader, named like cases."
        ),
    ] = None,
    reader: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who drew the --masks.")
    ] = None,
    consensus: Annotated[
        bool, typer.Option("--consensus", help="Propose the STAPLE of all readers.")
    ] = False,
    cases: options.CaseList = None,
    case: options.CaseIds = None,
    json: options.Json = False,
) -> None:
    """Compare the masks of several readers, and propose their consensus."""
    from napari_semiseg.project.review import readers as reading

    if (masks is None) != (reader is None):
        raise ConfigError("expected --masks and --reader, found one of them; give both")
    opened = options.open_project(project)
    ids = options.chosen_ids(cases, case) or None
    added: list[str] = []
    if masks is not None and reader is not None:
        added = reading.add_reader(opened, reader, masks, ids)
    with progress_bar("Comparing", quiet=json) as progress:
        found = reading.compare_readers(opened, ids, progress=progress)
    proposal = None
    if consensus:
        with progress_bar("Combining", quiet=json) as progress:
            proposal = reading.combine_readers(opened, ids, progress=progress)
    if json:
        compared = [
            {
                "id": item.case,
                "pairs": [
                    {
                        "readers": names,
                        "classes": {
                            name: metrics.model_dump()
                            for name, metrics in classes.items()
                        },
                    }
                    for names, classes in item.pairs.items()
                ],
                "slices": [place.model_dump() for place in item.slices],
            }
            for item in found
        ]
        run = None if proposal is None else asdict(proposal)
        render.emit({"added": added, "cases": compared, "consensus": run})
        return
    render.table(
        {"case": item.case, "readers": " - ".join(names), "label": label}
        | {SCORES[key]: f"{getattr(metrics, key):.3f}" for key in AGREEMENT}
        for item in found
        for names, classes in item.pairs.items()
        for label, metrics in classes.items()
    )
    if added:
        render.say(f"\nStored {count(len(added), 'mask')} of {reader}.")
    if proposal is not None:
        proposed = count(len(proposal.proposed), "consensus mask")
        render.say(f"\n{proposed} proposed in {proposal.run}.")
        for line in render.left_out(proposal.skipped):
            render.say(line)
    render.say(f"\nWhere they differ: semiseg suggest {project} --strategy readers")


def suggest(
    project: options.ProjectPath,
    k: Annotated[int, typer.Option("-k", min=1, help="How many to name.")] = 10,
    strategy: Annotated[
        str, typer.Option(metavar="NAME", help=f"{', '.join(strategies())}.")
    ] = DEFAULT,
    seed: Annotated[int, typer.Option(min=0, help="Of random draws.")] = 0,
    plane: options.Plane = None,
    cases: options.CaseList = None,
    json: options.Json = False,
) -> None:
    """Suggest what to annotate next, and say why."""
    from napari_semiseg.active_learning.suggest import suggest as rank
    from napari_semiseg.project.review.corrections import corrections
    from napari_semiseg.project.review.quality_estimate import Estimator

    opened = options.open_project(project)
    found = rank(
        opened, k, strategy, seed=seed, plane=plane, cases=options.read_list(cases)
    )
    estimator = Estimator(corrections(opened.cases()))
    estimates = estimator.newest(opened, [item.case for item in found.volumes])
    if json:
        render.emit(
            {
                "volumes": [
                    _volume(item) | render.estimated(estimates.get(item.case))
                    for item in found.volumes
                ],
                "slices": [asdict(item) for item in found.slices],
            }
        )
        return
    render.table(
        {
            "volume": item.case,
            "score ": f"{item.score:.3f}",
            "estimated Dice ": str(estimates.get(item.case, "-")),
            "reason": item.reason,
        }
        for item in found.volumes
    )
    render.say("")
    render.slices(found.slices)


def accept(
    project: options.ProjectPath,
    cases: options.CaseList = None,
    case: options.CaseIds = None,
    every: Annotated[
        bool, typer.Option("--all", help="All cases that have only a prediction.")
    ] = False,
    at_least: Annotated[
        float | None,
        typer.Option(
            metavar="DICE", help="Only those with an estimated Dice of at least this."
        ),
    ] = None,
    run: options.RunId = None,
    seen: Annotated[
        bool, typer.Option("--seen", help="You have looked at every one of them.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Accept predictions as labels; without --seen they are marked accepted unseen."""
    from napari_semiseg.project.review.accept import accept as accept_cases

    opened = options.open_project(project)
    ids = options.chosen_ids(cases, case)
    if bool(ids) == every:
        found = "both" if every else "neither"
        raise ConfigError(
            f"expected cases (--case, --cases) or --all, found {found}; give one"
        )
    if every:
        ids = [item.id for item in opened.cases(state=CaseState.PROPOSED)]
    chosen = options.find_run(opened, run)
    below = {} if at_least is None else _below(opened, ids, at_least, chosen)
    with progress_bar("Accepting", quiet=json) as progress:
        report = accept_cases(
            opened,
            [name for name in ids if name not in below],
            run=chosen,
            seen=seen,
            progress=progress,
        )
    accepted, skipped = report.accepted, {**report.skipped, **below}
    unseen = f", {len(report.unseen)} of them unseen" if report.unseen else ""
    render.answer(
        {"accepted": accepted, "unseen": report.unseen, "skipped": skipped},
        f"Accepted {count(len(accepted), 'prediction')}{unseen}.",
        *render.left_out(skipped),
        *([f"To undo: semiseg undo {project} --case ID"] if accepted else []),
        as_json=json,
    )


def reopen(
    project: options.ProjectPath,
    cases: options.CaseList = None,
    case: options.CaseIds = None,
    json: options.Json = False,
) -> None:
    """Take labels back; they are kept in the cases' folders, and so is the history."""
    from napari_semiseg.project.review.accept import reopen as reopen_cases

    opened = options.open_project(project)
    ids = options.named_ids(cases, case)
    report = reopen_cases(opened, ids)
    render.answer(
        {"reopened": report.reopened, "skipped": report.skipped},
        f"Reopened {count(len(report.reopened), 'case')}.",
        *render.left_out(report.skipped),
        as_json=json,
    )


def undo(
    project: options.ProjectPath,
    cases: options.CaseList = None,
    case: options.CaseIds = None,
    json: options.Json = False,
) -> None:
    """Undo the newest acceptance or reopening: label and draft are as before it."""
    from napari_semiseg.project.review.undo import undo as undo_change

    opened = options.open_project(project)
    ids = [opened.case(name).id for name in options.named_ids(cases, case)]
    undone, skipped = {}, {}
    for name in ids:
        try:
            undone[name] = undo_change(opened, name).action
        except ProjectError as error:
            skipped[name] = str(error)
    render.answer(
        {"undone": undone, "skipped": skipped},
        *(f"Undone: {action} of {name}." for name, action in undone.items()),
        *render.left_out(skipped),
        as_json=json,
    )


def restore(
    project: options.ProjectPath,
    case: Annotated[str, typer.Argument(metavar="CASE", help="Id of the case.")],
    version: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which; lists them by default.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Make an earlier label, or earlier edits, the draft of a case; or list them."""
    from napari_semiseg.project.review.undo import kept_masks
    from napari_semiseg.project.review.undo import restore as restore_mask

    opened = options.open_project(project)
    if version is None:
        names = kept_masks(opened.case(case))
        render.answer(
            {"case": case, "versions": names},
            *(names or [f"No earlier mask of {case} is kept."]),
            as_json=json,
        )
        return
    restore_mask(opened, case, version)
    render.answer(
        {"case": case, "draft": version},
        f"{version} is the draft of {case}: open it, look, and accept.",
        as_json=json,
    )


def refine(
    project: options.ProjectPath,
    case: Annotated[str, typer.Argument(metavar="CASE", help="Id of the case.")],
    run: options.RunId = None,
    lock: options.Lock = None,
    json: options.Json = False,
) -> None:
    """Let a prediction follow the corrections of a case; the result is its draft."""
    from napari_semiseg.project.review.refine import refine as refine_case

    opened = options.open_project(project)
    found = refine_case(
        opened,
        case,
        run=options.find_run(opened, run),
        locked=[opened.labels.named(name).value for name in lock or ()],
    )
    render.answer(
        {"case": case, "run": found.run, "changed_voxels": found.changed_voxels},
        f"{count(found.changed_voxels, 'voxel')} of {case} changed: open it, look, and "
        "accept.",
        as_json=json,
    )


def assist(
    project: options.ProjectPath,
    case: Annotated[str, typer.Argument(metavar="CASE", help="Id of the case.")],
    assistant: Annotated[
        str, typer.Option(metavar="NAME", help=f"{', '.join(assistants())}.")
    ] = FIRST,
    structure: Annotated[
        str | None, typer.Option(metavar="NAME", help="The first one by default.")
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(metavar="Z,Y,X", help="A voxel of the structure; repeat."),
    ] = None,
    off: Annotated[
        list[str] | None,
        typer.Option(metavar="Z,Y,X", help="A voxel beside it; repeat."),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="Z,Y,X,Z,Y,X", help="First and last corner around it; repeat."
        ),
    ] = None,
    strokes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A mask on the image: 1 on the structure, 2 beside it."
        ),
    ] = None,
    channel: Annotated[int, typer.Option(min=0, help="Which image of the case.")] = 0,
    lock: options.Lock = None,
    json: options.Json = False,
) -> None:
    """Propose a structure from what is marked in a case; the result is its draft."""
    from napari_semiseg.assistants.assist import assist as assist_case
    from napari_semiseg.imaging.mask_encoding import MaskEncoding

    opened = options.open_project(project)
    marks = [
        *_marks(point, "point", foreground=True),
        *_marks(off, "point", foreground=False),
        *_marks(box, "box", foreground=True),
        *_strokes(opened.case(case), strokes),
    ]
    label = opened.labels.classes[0] if structure is None else None
    label = label or opened.labels.named(structure or "")
    mask = assist_case(
        opened,
        case,
        marks,
        label.value,
        assistant=assistant,
        channel=channel,
        locked=[opened.labels.named(name).value for name in lock or ()],
    )
    inside = int((MaskEncoding(opened.labels).classes(mask) == label.value).sum())
    ml = round(inside * opened.case(case).geometry.voxel_ml, 9)
    render.answer(
        {"case": case, "assistant": assistant, "label": label.name, "volume_ml": ml},
        f"{label.name} of {case}: {millilitres(ml)} mL are proposed; open it, look, "
        "and accept.",
        as_json=json,
    )


def _marks(
    texts: list[str] | None, kind: Kind, *, foreground: bool
) -> Iterator[Prompt]:
    """Read prompts from numbers with commas between them."""
    from napari_semiseg.assistants.prompts import Prompt

    size = 6 if kind == "box" else 3
    for text in texts or ():
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != size or not all(part.isdecimal() for part in parts):
            raise ConfigError(
                f"expected a {kind} as {size} voxel indices with commas between them, "
                f"counted from 0, found '{text}'"
            )
        yield Prompt(kind, np.array(parts, int).reshape(-1, 3), foreground)


def _strokes(case: Case, path: Path | None) -> Iterator[Prompt]:
    """Read strokes from a mask file."""
    from napari_semiseg.assistants.prompts import Prompt
    from napari_semiseg.io.masks import read_labels

    if path is not None:
        mask = read_labels(path, case.geometry)
        if strange := sorted(set(np.unique(mask).tolist()) - {0, 1, 2}):
            raise ConfigError(f"{path}: expected values 0, 1 and 2, found {strange}")
        for value, foreground in ((1, True), (2, False)):
            if (mask == value).any():
                yield Prompt("scribble", np.argwhere(mask == value), foreground)


def flag(
    project: options.ProjectPath,
    cases: Cases,
    comment: Annotated[
        str, typer.Option(metavar="TEXT", help="Why it needs a second look.")
    ] = "",
    clear: Annotated[bool, typer.Option("--clear", help="Take flags away.")] = False,
    json: options.Json = False,
) -> None:
    """Flag cases for a second look, with a comment."""
    from napari_semiseg.project.review import flags

    if clear and comment:
        raise ConfigError("expected --comment or --clear, found both; give one")
    opened = options.open_project(project)
    ids = [opened.case(name).id for name in cases]
    for name in ids:
        if clear:
            flags.unflag(opened, name)
        else:
            flags.flag(opened, name, comment)
    render.answer(
        {"flags": {name: opened.case(name).record.flag for name in ids}},
        f"{'Cleared' if clear else 'Flagged'}: {', '.join(ids)}",
        as_json=json,
    )


def skip(
    project: options.ProjectPath, cases: Cases, json: options.Json = False
) -> None:
    """Move cases to the end of the queue until they are predicted anew."""
    from napari_semiseg.project.review import flags

    opened = options.open_project(project)
    ids = [opened.case(name).id for name in cases]
    for name in ids:
        flags.skip(opened, name)
    render.answer({"skipped": ids}, f"Skipped: {', '.join(ids)}", as_json=json)


def _changed(item: CaseChange) -> dict[str, Any]:
    """Give the JSON keys of a case by two models."""
    return {
        "id": item.case,
        "dice": item.dice,
        "classes": {name: asdict(one) for name, one in item.classes.items()},
        "estimated_dice_before": None if item.before is None else item.before.dice,
        "estimated_dice": None if item.after is None else item.after.dice,
    }


def _volume(item: VolumeSuggestion) -> dict[str, Any]:
    """JSON of a volume; notes of a reviewer only where there are any."""
    values = asdict(item)
    if values["flag"] is None:
        del values["flag"]
    if not values["skipped"]:
        del values["skipped"]
    return values


def _below(
    project: Project, ids: list[str], least: float, chosen: Run | None
) -> dict[str, str]:
    """Cases whose estimated Dice is too low or not known, and which it is."""
    from napari_semiseg.project.review.corrections import corrections
    from napari_semiseg.project.review.quality_estimate import Estimator

    if not 0 <= least <= 1:
        raise ConfigError(f"expected --at-least from 0 to 1, found {least:g}")
    estimator = Estimator(corrections(project.cases()))
    found = {}
    for name in ids:
        run = chosen or project.prediction_run(name)
        if run is None or not run.has_prediction(name):
            continue  # `accept` reports it
        record = run.prediction_record(name)
        estimate = estimator.estimate(record)
        if estimate is None or estimate.dice < least:
            found[name] = estimator.words(record)
    return found
