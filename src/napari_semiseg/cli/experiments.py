"""bench, simulate and audit: many trainings that are compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_semiseg.cli import options, render
from napari_semiseg.cli.display import ExperimentDisplay, StopFlag, stoppable
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.text import count, number
from napari_semiseg.errors import STOPPED, ConfigError, ProjectError
from napari_semiseg.experiments.experiment import Experiment, TrialFinished

if TYPE_CHECKING:
    from napari_semiseg.execution.executor import Executor
    from napari_semiseg.experiments.benchmark.statistics import ResultRow
    from napari_semiseg.experiments.simulation.curves import Point
    from napari_semiseg.experiments.simulation.results import StrategyResult

ALL = "all"
AUDIT_MINUTES = 5.0


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
    device: options.TrainingDevice = "auto",
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="VALUE=NAME", help="A class, without dataset.json."
        ),
    ] = None,
    settings: options.SettingPairs = None,
    cluster: options.Cluster = None,
    json: options.Json = False,
) -> None:
    """Train and score each method with each seed; the same command continues.

    Training never sees the test list. A method may carry parameters of its own, as
    ug_mcl:passes=4.
    """
    from napari_semiseg.experiments import checks, plots
    from napari_semiseg.experiments.benchmark.dataset import RawDataset, refuse_inside
    from napari_semiseg.experiments.benchmark.projects import refuse_absent_classes
    from napari_semiseg.experiments.benchmark.results import BenchmarkResults
    from napari_semiseg.experiments.benchmark.runner import PAGE, BenchmarkRunner
    from napari_semiseg.experiments.benchmark.spec import Benchmark

    _require_steps(cluster, steps)
    benchmark = Benchmark(
        data=data.resolve(),
        labelled=_read_lists(labelled),
        unlabelled=tuple(options.read_list(unlabelled) or ()),
        test=tuple(options.read_list(test) or ()),
        methods=_methods(options.split_commas(methods)),
        budgets=_budgets(options.split_commas(minutes), options.split_commas(steps)),
        seeds=_seeds(seeds),
        device=device,
        settings=options.read_settings(settings),
    )
    refuse_inside(data, out)
    plots.require_matplotlib()
    checks.check_trainings([benchmark.config(trial) for trial in benchmark.trials()])
    dataset = RawDataset.open(data)
    masked = [name for names in benchmark.labelled.values() for name in names]
    dataset.require([*masked, *benchmark.test], masks=True)
    dataset.require(benchmark.unlabelled)
    scheme = dataset.scheme(label or (), masked)
    shown = dataset.check(dict.fromkeys([*masked, *benchmark.test]), scheme)
    classes = {item.name: item.value for item in scheme}
    benchmark = benchmark.model_copy(update={"classes": classes})
    refuse_absent_classes(benchmark, scheme, shown)
    results = BenchmarkResults.open(out, benchmark)
    with _executor(cluster) as executor:
        out = out if cluster is None else out.resolve()
        runner = BenchmarkRunner(out, executor, benchmark, dataset, scheme)
        results, rows = _run(runner, results, "Benchmark", json=json)
    trials = runner.trials()
    failed = [run for run in results.failed() if any(map(run.is_of, trials))]
    if json:
        render.emit(
            {
                "results": str(out / results.FILE),
                "table": [asdict(row) for row in rows],
                "failed": [run.model_dump(mode="json") for run in failed],
            }
        )
    elif rows:
        _show_rows(rows)
        render.say(f"Tables and figures: {out / PAGE}")
    _refuse_failed("runs", len(trials), [(run.method, run.error) for run in failed])


def simulate(
    project: options.ProjectPath,
    masks: options.Masks,
    strategy: Annotated[
        list[str],
        typer.Option(
            metavar="A,B",
            help="Names as in suggest, whole or refine; mix:5% sets slices.",
        ),
    ],
    rounds: Annotated[
        int, typer.Option(metavar="R", help="Annotate, train, score: so many times.")
    ],
    slices: Annotated[
        str,
        typer.Option(
            "--slices-per-round", metavar="K", help="A number, or 5% of all slices."
        ),
    ],
    minutes: options.Minutes = None,
    steps: options.Steps = None,
    method: options.MethodName = None,
    seeds: Annotated[
        list[str] | None,
        typer.Option("--seeds", "--seed", metavar="0,1,2", help="One trial each."),
    ] = None,
    cases: options.CaseList = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="LIST", help="Ids that are scored, not the test split."),
    ] = None,
    plane: options.Plane = None,
    device: options.TrainingDevice = "auto",
    settings: options.SettingPairs = None,
    cluster: options.Cluster = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Results; PROJECT_simulation by default."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Simulate a user who annotates suggested slices; the same command continues.

    It works on copies of the project, which stays as it is.
    """
    from napari_semiseg.experiments import checks, plots
    from napari_semiseg.experiments.simulation import annotator, curves
    from napari_semiseg.experiments.simulation.results import SimulationResults
    from napari_semiseg.experiments.simulation.runner import SimulationRunner
    from napari_semiseg.experiments.simulation.spec import (
        Simulation,
        SliceBudget,
        StrategyVariant,
    )

    options.check_budget(minutes, steps)
    _require_steps(cluster, steps)
    opened = options.open_project(project)
    held_out = options.read_list(test) or annotator.test_cases(opened)
    simulation = Simulation(
        project=opened.folder.resolve(),
        masks=masks.resolve(),
        cases=tuple(
            options.read_list(cases)
            or annotator.cases_with_masks(opened, masks, held_out)
        ),
        test=tuple(held_out),
        strategies=tuple(
            StrategyVariant.parse(text).label for text in options.split_commas(strategy)
        ),
        rounds=rounds,
        slices_per_round=SliceBudget.parse(slices).text,
        seeds=_seeds(seeds),
        plane=plane,
        method=method,
        minutes=minutes,
        steps=steps,
        device=device,
        settings=options.read_settings(settings),
    )
    plots.require_matplotlib()
    checks.check_trainings([simulation.config(seed) for seed in simulation.seeds])
    folder = out or opened.folder.with_name(f"{opened.folder.name}_simulation")
    folder = folder if cluster is None else folder.resolve()
    results = SimulationResults.open(folder, simulation)
    references = annotator.References.check(opened, simulation)
    with _executor(cluster) as executor:
        runner = SimulationRunner(folder, executor, opened, simulation, references)
        results, points = _run(runner, results, "Simulation", json=json)
    asked = [results.of(strategy) for strategy in simulation.seeded_strategies()]
    failed = [result for result in asked if result.error is not None]
    figure = str(curves.figure_path(folder)) if points else None
    if json:
        render.emit(
            {
                "results": str(folder / results.FILE),
                "figure": figure,
                "curves": [_curve(result) for result in results.trials],
                "mean": [asdict(point) for point in points],
                "failed": [
                    {"strategy": item.strategy, "seed": item.seed, "error": item.error}
                    for item in failed
                ],
            }
        )
    elif points:
        _show_points(points)
        render.say(f"Curves: {figure}")
    _refuse_failed(
        "trials", len(asked), [(item.strategy, item.error) for item in failed]
    )


def audit(
    project: options.ProjectPath,
    folds: Annotated[
        int, typer.Option(metavar="K", help="Trainings, each without a Kth of labels.")
    ] = 4,
    minutes: options.Minutes = None,
    steps: options.Steps = None,
    method: options.MethodName = None,
    device: options.TrainingDevice = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Decides every batch.")] = 0,
    settings: options.SettingPairs = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many slices to name.")] = 20,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Trainings; PROJECT_audit by default."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Rank slices whose label is probably wrong; the same command continues.

    Each label is compared with a model that was trained without it, for 5 minutes
    unless --minutes or --steps is given.
    """
    from napari_semiseg.active_learning.suggest import suggest
    from napari_semiseg.experiments.audit import audit as cross_fit
    from napari_semiseg.experiments.checks import check_trainings

    options.check_budget(minutes, steps)
    opened, stop = options.open_project(project), StopFlag()
    config = TrainingConfig.build(
        options.read_settings(settings),
        method=method,
        minutes=AUDIT_MINUTES if minutes is None and steps is None else minutes,
        steps=steps,
        device=device,
        seed=seed,
    )
    check_trainings([config])
    with stoppable(stop), ExperimentDisplay("Audit", quiet=json) as display:
        for event in cross_fit(
            opened, config, folds=folds, out=out, stop=lambda: stop.requested
        ):
            display.take(event)
    if stop.requested:
        if not json:
            render.say("Stopped; the same command continues from here.")
        raise SystemExit(STOPPED)
    try:
        found = suggest(opened, k, "audit").slices
    except ProjectError:  # no label is doubted
        found = ()
    if json:
        render.emit({"slices": [asdict(item) for item in found]})
        return
    render.slices(found)
    render.say(f"\n{count(len(found), 'slice')} to check; the queue has them as well.")


def bench_trial(
    project: Annotated[Path, typer.Argument()],
    run: Annotated[str, typer.Argument()],
    cases: options.CaseList = None,
) -> None:
    """Train and predict; started by semiseg bench and semiseg simulate."""
    from napari_semiseg.experiments.worker import train_and_predict

    opened = options.open_project(project)
    chosen = opened.run(run)
    with stoppable(chosen):
        for _ in train_and_predict(opened, chosen, options.read_list(cases)):
            pass


@contextmanager
def _executor(cluster: str | None) -> Iterator[Executor]:
    """Give what runs the trainings: this machine, or a cluster until the end."""
    from napari_semiseg.execution.cluster import ClusterExecutor, connected
    from napari_semiseg.execution.local import LocalExecutor

    if cluster is None:
        yield LocalExecutor(low_priority=False)
    else:
        with connected(cluster) as client:
            yield ClusterExecutor(client)


def _require_steps(cluster: str | None, steps: object) -> None:
    if cluster is not None and not steps:
        raise ConfigError(
            "expected --steps with --cluster, found none; minutes hold other numbers "
            "of steps on each machine"
        )


def _run(
    experiment: Experiment[Any, Any], results: Any, name: str, *, json: bool
) -> tuple[Any, Any]:
    """Do all trials that are not done; tables and figures grow with each.

    Returns the results and their rows.
    """
    stop, rows = StopFlag(), None
    with stoppable(stop), ExperimentDisplay(name, quiet=json) as display:
        for event in experiment.run(results, stop=lambda: stop.requested):
            display.take(event)
            if isinstance(event, TrialFinished):
                results = event.results
                rows = experiment.publish(results)
    if stop.requested:
        if not json:
            render.say("Stopped; the same command continues from here.")
        raise SystemExit(STOPPED)
    return results, experiment.publish(results) if rows is None else rows


def _refuse_failed(
    noun: str, total: int, failed: Sequence[tuple[str, str | None]]
) -> None:
    """Refuse trials that failed, which are given with their errors."""
    for first, error in failed[:1]:
        raise ProjectError(
            f"expected {total} {noun} with scores, found that {len(failed)} failed, "
            f"the first ({first}) with '{error}'; the same command tries them again"
        )


def _show_rows(rows: Sequence[ResultRow]) -> None:
    render.table(
        (
            {
                "method": row.method,
                "labelled": row.labelled,
                "budget": row.budget,
                "Dice ": f"{row.metrics['dice'].mean:.3f}",
                "SD ": number(row.metrics["dice"].over_cases),
                "HD95 mm ": f"{row.metrics['hd95_mm'].mean:.2f}",
                "minutes ": f"{row.minutes:.1f}",
                "peak MB ": number(row.peak_memory_mb, ".0f"),
                "p (Holm) ": number(row.tests["dice"].p_holm if row.tests else None),
            }
            for row in rows
        ),
    )


def _show_points(points: Sequence[Point]) -> None:
    render.table(
        {
            "strategy": point.strategy,
            "round ": str(point.round),
            "slices ": f"{point.slices:.0f}",
            "annotated ": f"{point.annotated_fraction:.1%}",
            "strokes ": f"{point.strokes:.0f}",
            "voxels changed ": f"{point.voxels_changed:.0f}",
            "Dice ": f"{point.dice:.3f}",
            "SD ": number(point.sd),
        }
        for point in points
    )


def _curve(result: StrategyResult) -> dict[str, Any]:
    shown = {
        "round",
        "slices",
        "strokes",
        "voxels_changed",
        "annotated_fraction",
        "dice",
        "dice_per_class",
        "steps",
        "seconds",
    }
    return {
        "strategy": result.strategy,
        "seed": result.seed,
        "rounds": [
            item.model_dump(include=shown)
            for item in result.rounds
            if item.dice is not None
        ],
    }


def _read_lists(paths: Sequence[Path]) -> dict[str, tuple[str, ...]]:
    """Ids by the name of their list, which becomes the name of a folder."""
    found: dict[str, tuple[str, ...]] = {}
    for path in paths:
        name = re.sub(r"[^\w.-]+", "-", path.stem) or "labelled"
        if name in found:
            raise ConfigError(
                f"expected lists with distinct names, found '{name}' twice; rename one"
            )
        found[name] = tuple(options.read_list(path) or ())
    return found


def _methods(names: Sequence[str]) -> tuple[str, ...]:
    if ALL in names:
        from napari_semiseg.engine import method_specs

        every = [spec.name for spec in method_specs()]
        names = [*every, *(name for name in names if name not in (ALL, *every))]
    if not names:
        raise ConfigError("expected --methods with a method, found none; name some")
    return tuple(names)


def _budgets(minutes: Sequence[str], steps: Sequence[str]) -> tuple[str, ...]:
    from napari_semiseg.experiments.benchmark.spec import Budget

    if bool(minutes) == bool(steps):
        found = "both" if minutes else "neither"
        raise ConfigError(f"expected --minutes or --steps, found {found}; give one")
    budgets = [Budget(steps=options.whole_number(text, "--steps", 1)) for text in steps]
    for text in minutes:
        try:
            value = float(text)
        except ValueError:
            raise ConfigError(
                f"expected --minutes with numbers as 5 or 5,20, found {text!r}"
            ) from None
        options.check_budget(value)
        budgets.append(Budget(minutes=value))
    return tuple(budget.text for budget in budgets)


def _seeds(texts: Sequence[str] | None) -> tuple[int, ...]:
    seeds = options.split_commas(texts or ["0"])
    return tuple(options.whole_number(text, "--seeds", 0) for text in seeds)
