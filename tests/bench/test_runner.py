from __future__ import annotations

import json
import re

import pytest

from napari_semiseg.bench import results as store
from napari_semiseg.bench.report import publish
from napari_semiseg.bench.results import Results
from napari_semiseg.bench.runner import Began, Ended, seconds_left
from napari_semiseg.bench.spec import Budget
from napari_semiseg.errors import SemisegError
from napari_semiseg.project.store import Project


def begin(bench) -> Results:
    return store.begin(bench.out, bench.benchmark, bench.scheme)


def go(bench, stop=lambda: False) -> tuple[Results, list]:
    results, events = begin(bench), []
    for event in bench.run(results, stop):
        events.append(event)
        if isinstance(event, Ended):
            results = event.results
    return results, events


def stored(bench) -> Results:
    text = (bench.out / "results.json").read_text()
    return Results.model_validate(json.loads(text))


def test_all_trials_are_scored_on_cases_that_training_cannot_reach(
    make_bench, workers
) -> None:
    bench = make_bench()
    workers.empty = {"ug_mcl_3steps_seed0"}
    results, events = go(bench)
    project = Project.open(bench.out / "projects" / "two")
    held = [case for case in project.cases() if case.split == "test"]
    assert [case.id for case in held] == ["case_4", "case_5", "case_6"]
    assert not any(case.has_label for case in held)
    labelled = [case.id for case in project.cases() if case.has_label]
    assert labelled == ["case_0", "case_1"]

    assert stored(bench) == results
    right, wrong = results.completed()
    assert right.cases["case_4"]["ball"].dice == 1.0
    assert (right.device, right.parameters, right.steps) == ("cpu", 1000, 3)
    assert (right.seconds, right.predict_seconds) == (30.0, 1.5)
    assert (right.peak_memory_mb, right.peak_gpu_mb) == (321.0, 1234.0)
    # Nothing found where there is something: the worst score, and not the best.
    diagonal = (24**2 + 24**2 + 48**2) ** 0.5
    assert wrong.cases["case_5"]["ball"].dice == 0.0
    assert wrong.cases["case_5"]["ball"].hd95_mm == pytest.approx(diagonal)
    assert results.machine["processor"]
    assert "numpy" in results.versions
    began = [event for event in events if isinstance(event, Began)]
    assert [(event.number, event.total) for event in began] == [(1, 2), (2, 2)]
    assert began[0].seconds_after is None  # no training of so many steps yet
    assert began[1].seconds_after == 0.0


def test_what_is_finished_is_not_repeated_and_more_can_be_asked_for(
    make_bench, workers
) -> None:
    first, _ = go(make_bench())
    assert len(workers.started) == 2
    again, events = go(make_bench())
    assert len(workers.started) == 2
    assert again == first
    assert not any(isinstance(event, Began) for event in events)
    results, _ = go(make_bench("dtml", seeds=(3,), budgets=(Budget(minutes=2),)))
    assert workers.started[2:] == ["dtml_2min_seed3"]
    assert len(results.runs) == 3
    assert results.config.methods == ("supervised", "ug_mcl", "dtml")
    assert results.config.budgets == ("3 steps", "2 min")
    assert results.config.seeds == (0, 3)


def test_a_failure_is_recorded_and_the_rest_goes_on(make_bench, workers) -> None:
    bench = make_bench()
    workers.broken = {"supervised_3steps_seed0": "expected two classes, found one"}
    results, _ = go(bench)
    (failed,), (done,) = results.failed(), results.completed()
    assert failed.method == "supervised"
    assert failed.error == "expected two classes, found one"
    assert done.method == "ug_mcl"
    publish(bench, results)
    page = (bench.out / "results.md").read_text()
    assert "seed 0: expected two classes, found one" in page
    assert "no `supervised` run yet" in page
    workers.broken = {}
    results, _ = go(bench)
    assert workers.started[2:] == ["supervised_3steps_seed0"]
    assert results.failed() == []
    assert len(results.runs) == 2


def test_a_stopped_run_is_gone_on_with(make_bench, workers) -> None:
    bench = make_bench()
    asked = []

    def interrupt(run) -> None:
        asked.append(run.id)
        run.request_stop()

    workers.during = interrupt
    results, events = go(bench, stop=lambda: bool(asked))
    assert results.runs == ()
    assert stored(bench).runs == ()
    assert asked == workers.started == ["supervised_3steps_seed0"]
    assert not any(isinstance(event, Ended) for event in events)
    workers.during = lambda run: None
    results, _ = go(bench)
    assert len(results.completed()) == 2
    project = Project.open(bench.out / "projects" / "two")
    sessions = [
        event.type
        for event in project.run("supervised_3steps_seed0").events()
        if event.type in ("started", "finished")
    ]
    assert sessions == ["started", "finished"] * 2


def test_a_folder_holds_one_benchmark(make_bench, workers, data) -> None:
    go(make_bench())
    for changes, word in (
        ({"test": ("case_4", "case_5")}, "same test"),
        ({"unlabelled": ()}, "same unlabelled"),
        ({"settings": {"width": "4"}}, "same settings"),
        ({"labelled": {"two": ("case_1", "case_2")}}, "list 'two'"),
    ):
        with pytest.raises(SemisegError, match=word):
            begin(make_bench(**changes))
    bench = make_bench()
    (bench.out / "results.json").unlink()
    with pytest.raises(SemisegError, match="new folder"):
        begin(bench)


def test_a_test_image_under_another_name_is_found_out(
    make_bench, workers, data
) -> None:
    images = data / "imagesTr"
    (images / "case_5.nii.gz").write_bytes((images / "case_2.nii.gz").read_bytes())
    with pytest.raises(SemisegError, match="'case_5' is the same image as 'case_2'"):
        go(make_bench())
    assert workers.started == []


def test_time_left_comes_from_minutes_or_from_what_was_measured(
    make_bench, workers
) -> None:
    bench = make_bench(budgets=(Budget(minutes=2),))
    assert seconds_left(bench.benchmark.trials(), begin(bench)) == 240.0
    results, _ = go(bench)
    assert seconds_left(bench.benchmark.trials(), results) == 243.0
    bench = make_bench(seeds=(0, 1))
    results, _ = go(make_bench())
    assert seconds_left(bench.benchmark.trials(), results) == 4 * 31.5


def test_tables_and_figures(make_bench, workers) -> None:
    pytest.importorskip("matplotlib")
    one = {"one": ("case_0",)}
    both = one | {"three": ("case_0", "case_1", "case_2")}
    workers.empty = {"ug_mcl_1min_seed0"}
    short, long = Budget(minutes=1), Budget(minutes=4)
    go(make_bench(labelled=one, test=("case_4",), budgets=(short, long)))
    bench = make_bench(labelled=both, test=("case_4",), budgets=(short,))
    results, _ = go(bench)
    rows = publish(bench, results)
    assert [(row.labelled, row.budget, row.method) for row in rows] == [
        ("one", "1 min", "supervised"),
        ("one", "1 min", "ug_mcl"),
        ("one", "4 min", "supervised"),
        ("one", "4 min", "ug_mcl"),
        ("three", "1 min", "supervised"),
        ("three", "1 min", "ug_mcl"),
    ]
    page = (bench.out / "results.md").read_text()
    assert page.startswith("# Benchmark on Balls\n")
    assert "## 1 labelled (one), 4 min" in page
    assert "| `supervised` | 1.000 | 1.000 | 0.00 | 0.00 | 1 |" in page
    assert "| `ug_mcl` | 0.000 | 0.000 |" in page
    pictures = re.findall(r"!\[.*\]\((figures/.*)\.png\)", page)
    assert [picture.removeprefix("figures/") for picture in pictures] == [
        "accuracy-minutes",
        "accuracy-labels",
        "cases-one-1min",
        "cases-one-4min",
        "cases-three-1min",
    ]
    for picture in pictures:
        assert (bench.out / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
        drawn = (bench.out / f"{picture}.svg").read_text()
        assert "supervised" in drawn
        assert "ug_mcl" in drawn
