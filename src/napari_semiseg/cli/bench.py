"""bench: every method on the same data, with few labels."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_semiseg.cli import render
from napari_semiseg.cli.errors import STOPPED
from napari_semiseg.cli.options import (
    CaseList,
    Json,
    check_budget,
    read_list,
    read_settings,
)
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.experiments.benchmark import TRIAL_VERB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.cli.bench_board import Board
    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.experiments.benchmark.results import Results
    from napari_semiseg.experiments.benchmark.runner import Bench
    from napari_semiseg.experiments.benchmark.spec import Budget, Entry
    from napari_semiseg.experiments.benchmark.statistics import Row

ALL = "all"


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command(bench.__name__)(bench)
    app.command(TRIAL_VERB, hidden=True)(trial)


def bench(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder in nnU-Net's raw layout.")
    ],
    labelled: Annotated[
        list[Path],
        typer.Option(metavar="LIST", help="Ids that have a mask; repeat to compare."),
    ],
    test: Annotated[Path, typer.Option(metavar="LIST", help="Ids that are scored.")],
    methods: Annotated[
        list[str], typer.Option(metavar="A,B", help="Methods, or all of them: all.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")],
    unlabelled: Annotated[
        Path | None, typer.Option(metavar="LIST", help="Ids whose images are used.")
    ] = None,
    minutes: Annotated[
        list[str] | None, typer.Option(metavar="M,N", help="Budgets in minutes.")
    ] = None,
    steps: Annotated[
        list[str] | None, typer.Option(metavar="N,M", help="Budgets in steps.")
    ] = None,
    seeds: Annotated[
        list[str] | None, typer.Option(metavar="0,1,2", help="One training each.")
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda|mps", help="Where to train.")
    ] = "auto",
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="VALUE=NAME", help="A class, without dataset.json."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="For all trainings; repeat."),
    ] = None,
    json: Json = False,
) -> None:
    """Train and score each method with each seed; the same command goes on.

    Training never sees the test list. A method may carry parameters of its own, as
    ug_mcl:passes=4.
    """
    from napari_semiseg.cli.bench_board import Board
    from napari_semiseg.cli.progress import stoppable
    from napari_semiseg.execution.local import LocalExecutor
    from napari_semiseg.experiments.benchmark import figures, results
    from napari_semiseg.experiments.benchmark.dataset import Dataset, refuse_inside
    from napari_semiseg.experiments.benchmark.projects import refuse_unshown
    from napari_semiseg.experiments.benchmark.runner import Bench
    from napari_semiseg.experiments.benchmark.spec import Benchmark

    benchmark = Benchmark(
        data=data,
        labelled=_lists(labelled),
        unlabelled=tuple(read_list(unlabelled) or ()),
        test=tuple(read_list(test) or ()),
        entries=_entries(words(methods)),
        budgets=_budgets(words(minutes), words(steps)),
        seeds=tuple(whole(text, "--seeds", 0) for text in words(seeds or ["0"])),
        device=device,
        settings=read_settings(settings),
    )
    refuse_inside(data, out)
    figures.check_installed()
    check_trainings([benchmark.config(trial) for trial in benchmark.trials()])
    dataset = Dataset.open(data)
    with_mask = [name for names in benchmark.labelled.values() for name in names]
    with_mask += benchmark.test
    dataset.require(with_mask, masks=True)
    dataset.require(benchmark.unlabelled)
    scheme = dataset.scheme(label or (), with_mask[: -len(benchmark.test)])
    refuse_unshown(benchmark, scheme, dataset.check(dict.fromkeys(with_mask), scheme))
    executor = LocalExecutor(low_priority=False)
    ours = Bench(benchmark, dataset, scheme, out, executor)
    begun = results.begin(out, benchmark, scheme)
    stop = Stop()
    with stoppable(stop), Board(quiet=json) as board:
        found = _run(ours, begun, board, stop)
    if stop.asked:
        if not json:
            render.say("Stopped; the same command goes on from here.")
        raise SystemExit(STOPPED)
    _report(ours, found, json=json)


def trial(
    project: Annotated[Path, typer.Argument()],
    run: Annotated[str, typer.Argument()],
    cases: CaseList = None,
) -> None:
    """Do one trial; started by semiseg bench and semiseg simulate."""
    from napari_semiseg.cli.progress import stoppable
    from napari_semiseg.experiments.benchmark.worker import work
    from napari_semiseg.project.project import Project

    opened = Project.open(project)
    chosen = opened.run(run)
    with stoppable(chosen):
        for _ in work(opened, chosen, read_list(cases)):
            pass


@dataclass(slots=True)
class Stop:
    """Whether the user has asked to stop."""

    asked: bool = False

    def request_stop(self) -> None:
        """Note that the user wants to stop."""
        self.asked = True


def _run(ours: Bench, results: Results, board: Board, stop: Stop) -> Results:
    """Go through all trials that are not done; tables grow with each."""
    from napari_semiseg.experiments.benchmark.report import publish
    from napari_semiseg.experiments.benchmark.runner import Ended

    for event in ours.run(results, stop=lambda: stop.asked):
        board.take(event)
        if isinstance(event, Ended):
            results = event.results
            publish(ours, results)
    return results


def _report(ours: Bench, results: Results, *, json: bool) -> None:
    from napari_semiseg.experiments.benchmark.report import PAGE, publish
    from napari_semiseg.experiments.benchmark.results import FILE

    rows = publish(ours, results)
    wanted = ours.benchmark.trials()
    failed = [run for run in results.failed() if any(map(run.is_of, wanted))]
    if json:
        values: dict[str, Any] = {
            "results": str(ours.out / FILE),
            "table": [asdict(row) for row in rows],
            "failed": [run.model_dump(mode="json") for run in failed],
        }
        render.emit(values)
    elif rows:
        _show(rows)
        render.say(f"Tables and figures: {ours.out / PAGE}")
    if failed:
        raise ProjectError(
            f"expected {len(wanted)} runs with scores, found that {len(failed)} "
            f"failed, the first ({failed[0].method}) with '{failed[0].error}'; the "
            "same command tries them again"
        )


def _show(rows: Sequence[Row]) -> None:
    heads = ("method", "labelled", "budget", "Dice ", "SD ", "HD95 mm ", "minutes ")
    render.table(
        (*heads, "peak MB ", "p (Holm) "),
        (
            (
                row.method,
                row.labelled,
                row.budget,
                f"{row.metrics['dice'].mean:.3f}",
                render.number(row.metrics["dice"].over_cases),
                f"{row.metrics['hd95_mm'].mean:.2f}",
                f"{row.minutes:.1f}",
                render.number(row.peak_memory_mb, 0),
                render.number(row.tests["dice"].p_holm if row.tests else None),
            )
            for row in rows
        ),
    )


def check_trainings(configs: Sequence[TrainingConfig]) -> None:
    """Refuse what the engine would refuse at the start of a training."""
    from napari_semiseg.engine import devices
    from napari_semiseg.engine.methods import registry

    for config in configs:
        kind = registry.find(config.method)
        registry.check_params(kind, config.params)
        registry.check_batch(kind, config)
        devices.choose(config.device)


def _lists(paths: Sequence[Path]) -> dict[str, tuple[str, ...]]:
    """Ids by the name of their list, which becomes the name of a folder."""
    found: dict[str, tuple[str, ...]] = {}
    for path in paths:
        name = re.sub(r"[^\w.-]+", "-", path.stem) or "labelled"
        if name in found:
            raise ConfigError(
                f"expected lists with distinct names, found '{name}' twice; rename one"
            )
        found[name] = tuple(read_list(path) or ())
    return found


def words(texts: Sequence[str] | None) -> list[str]:
    """Split what was repeated or set apart by commas; order stays, repeats go."""
    words = [word.strip() for text in texts or () for word in text.split(",")]
    return list(dict.fromkeys(word for word in words if word))


def _entries(names: Sequence[str]) -> tuple[Entry, ...]:
    from napari_semiseg.experiments.benchmark.spec import Entry

    if ALL in names:
        from napari_semiseg.engine import method_specs

        every = [spec.name for spec in method_specs()]
        names = [*every, *(name for name in names if name not in (ALL, *every))]
    if not names:
        raise ConfigError("expected --methods with a method, found none; name some")
    return tuple(map(Entry.parse, names))


def _budgets(minutes: Sequence[str], steps: Sequence[str]) -> tuple[Budget, ...]:
    from napari_semiseg.experiments.benchmark.spec import Budget

    if bool(minutes) == bool(steps):
        found = "both" if minutes else "neither"
        raise ConfigError(f"expected --minutes or --steps, found {found}; give one")
    if steps:
        return tuple(Budget(steps=whole(text, "--steps", 1)) for text in steps)
    budgets = []
    for text in minutes:
        try:
            value = float(text)
        except ValueError:
            raise ConfigError(
                f"expected --minutes with numbers as 5 or 5,20, found {text!r}"
            ) from None
        check_budget(value)
        budgets.append(Budget(minutes=value))
    return tuple(budgets)


def whole(text: str, option: str, least: int) -> int:
    """Read a whole number.

    Raises
    ------
    ConfigError
        It is none, or too small.
    """
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ConfigError(
            f"expected {option} with whole numbers from {least}, as 1,2, found {text!r}"
        )
    return int(text)
