from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from fake_workers import FakeHandle
from napari_semiseg.core.events import Finished, Started, Warned
from napari_semiseg.errors import SemisegError
from napari_semiseg.experiments.benchmark.results import BenchmarkResults
from napari_semiseg.experiments.benchmark.runner import BenchmarkRunner
from napari_semiseg.experiments.experiment import TrialFinished, TrialStarted
from napari_semiseg.imaging.metrics import evaluate_labels
from napari_semiseg.io.atomic import write_text
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.process import Claim
from napari_semiseg.project.runs.run import Run
from synthetic import save_nifti


def begin(bench) -> BenchmarkResults:
    return BenchmarkResults.open(bench.out, bench.benchmark)


def time_after(bench, results: BenchmarkResults) -> tuple[float, int]:
    """What is left after a trial of its kind that is going on."""
    trials = bench.trials()
    left = bench.remaining(trials[0], trials, results)
    return left.seconds_after, left.steps_after


def go(bench, stop=lambda: False) -> tuple[BenchmarkResults, list]:
    results, events = begin(bench), []
    for event in bench.run(results, stop):
        events.append(event)
        if isinstance(event, TrialFinished):
            results = event.results
    return results, events


def stored(bench) -> BenchmarkResults:
    text = (bench.out / "results.json").read_text()
    return BenchmarkResults.model_validate(json.loads(text))


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
    assert results.machine.processor
    assert "numpy" in results.versions
    began = [event for event in events if isinstance(event, TrialStarted)]
    assert [(event.number, event.total) for event in began] == [(1, 2), (2, 2)]
    # No training of so many steps was timed before the first.
    left = [event.remaining for event in began]
    assert (left[0].seconds_after, left[0].steps_after) == (0.0, 3)
    assert (left[1].seconds_after, left[1].steps_after) == (
        pytest.approx(1.5 + right.score_seconds),
        0,
    )


def test_trials_at_once_give_what_they_give_in_turn(
    make_bench, workers, tmp_path
) -> None:
    workers.broken = {"ug_mcl_3steps_seed1": "out of memory"}
    turns, _ = go(make_bench(seeds=(0, 1)))
    shutil.rmtree(make_bench().out)
    workers.parallel = 2
    bench = make_bench(seeds=(0, 1))
    together, events = go(bench)

    def known(results):
        left_out = {"score_seconds"}
        runs = [run.model_dump(exclude=left_out) for run in results.runs]
        return sorted(runs, key=lambda run: (run["method"], run["seed"]))

    assert known(together) == known(turns)
    assert stored(bench) == together
    assert (together.machine, together.versions) == (turns.machine, turns.versions)
    began = [event.number for event in events if isinstance(event, TrialStarted)]
    assert began == [1, 2, 3, 4]
    done = 0  # as the bar counts
    for event in events:
        if isinstance(event, TrialStarted):
            assert event.done == done
        done += isinstance(event, TrialFinished)
    assert done == 4


def test_what_is_finished_is_not_repeated_and_more_can_be_asked_for(
    make_bench, workers
) -> None:
    first, _ = go(make_bench())
    assert len(workers.started) == 2
    again, events = go(make_bench())
    assert len(workers.started) == 2
    assert again == first
    assert not any(isinstance(event, TrialStarted) for event in events)
    results, _ = go(make_bench("dtml", seeds=(3,), budgets=("2 min",)))
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
    bench.publish(results)
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
    assert not any(isinstance(event, TrialFinished) for event in events)
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


def test_time_after_comes_from_minutes_or_from_what_was_measured(
    make_bench, workers, monkeypatch
) -> None:
    def slow(*found) -> dict:
        time.sleep(0.1)
        return evaluate_labels(*found)

    monkeypatch.setattr("napari_semiseg.experiments.training.evaluate_labels", slow)
    bench = make_bench(budgets=("2 min",))
    assert time_after(bench, begin(bench)) == (240.0, 0)
    results, _ = go(bench)
    assert all(run.score_seconds >= 0.3 for run in results.runs)
    closing = 1.5 + sum(run.score_seconds for run in results.runs) / 2
    # That of the trial that goes on counts too.
    expected = (pytest.approx(240 + 3 * closing), 0)
    assert time_after(bench, results) == expected
    bench = make_bench(seeds=(0, 1))
    expected = (pytest.approx(5 * closing), 4 * 3)  # nobody has timed so many steps
    assert time_after(bench, results) == expected
    results, _ = go(make_bench())
    closing = 1.5 + sum(run.score_seconds for run in results.runs) / 4
    expected = (pytest.approx(4 * 30 + 5 * closing), 0)
    assert time_after(bench, results) == expected


def test_every_image_is_read_before_the_first_training(
    make_bench, workers, data
) -> None:
    """A broken one would else end the last trial after hours."""
    bench = make_bench()
    good = (data / "imagesTr" / "case_6.nii.gz").read_bytes()
    save_nifti(
        data / "imagesTr" / "case_6.nii.gz", np.full((24, 24, 24), np.nan, np.float32)
    )
    with pytest.raises(SemisegError, match=r"case_6.* NaN"):
        go(bench)
    (data / "imagesTr" / "case_6.nii.gz").write_bytes(good)
    results, events = go(bench)
    assert len(results.completed()) == 2
    read = [
        event for event in events if getattr(event, "stage", "") == "Reading images"
    ]
    assert [event.done for event in read] == list(range(1, 8))
    _, events = go(make_bench(seeds=(0, 1)))
    assert not any(getattr(event, "stage", "") == "Reading images" for event in events)


def test_what_a_training_warned_of_stands_by_its_scores(make_bench, workers) -> None:
    bench = make_bench("supervised")
    warned = Warned(message="case case_1 is left out: it is torn")
    workers.during = lambda run: [run.append(warned) for _ in range(2)]
    results, _ = go(bench)
    assert results.runs[0].notes == ("case case_1 is left out: it is torn",)
    bench.publish(results)
    page = (bench.out / "results.md").read_text()
    assert "seed 0: case case_1 is left out: it is torn" in page
    assert "Failed" not in page


@pytest.fixture
def left_alone(make_bench, monkeypatch) -> tuple[BenchmarkRunner, Run]:
    """A trial, at which a worker of another machine is at work for three looks."""
    looks = iter((True, True, True))

    def holds(claim, *_signs) -> bool:
        return claim.host == "elsewhere" and next(looks, False)

    monkeypatch.setattr(Claim, "holds", holds)
    monkeypatch.setattr("napari_semiseg.experiments.training.POLL_S", 0.05)
    bench = make_bench("supervised")
    (trial,) = bench.benchmark.trials()
    begin(bench).write(bench.out)
    project = Project.create(bench.out / "projects" / "two", bench.scheme)
    run = Run.create(project, bench.benchmark.config(trial), trial.run_id)
    run.append(Started(run=run.id, method="supervised", pid=17))
    write_text(run.folder.pid, Claim(17, 1.0, "elsewhere").text)
    return bench, run


def test_a_worker_of_another_machine_that_falls_silent_is_replaced(
    left_alone, workers
) -> None:
    """As one whose container was started again under another name."""
    bench, run = left_alone
    results, events = go(bench)
    (done,) = results.completed()
    assert workers.started == [run.id]
    (said,) = [event.message for event in events if isinstance(event, Warned)]
    assert said.startswith("waits for a worker on another machine")
    assert done.notes == ()


def test_what_a_worker_of_another_machine_says_counts(left_alone, workers) -> None:
    bench, run = left_alone
    run.append(
        Finished(run=run.id, reason="failed", step=2, seconds=1.0, error="it diverged")
    )
    results, _ = go(bench)
    assert [failed.error for failed in results.failed()] == ["it diverged"]
    assert workers.started == []


def test_a_worker_that_is_refused_since_another_one_trains_is_no_failure(
    make_bench, workers, monkeypatch
) -> None:
    """As when a cluster repeats what a lost worker had begun, and its child lives."""
    monkeypatch.setattr("napari_semiseg.experiments.training.POLL_S", 0.05)
    submit, others = workers.submit, []

    def refuse_once(verb, arguments, log):
        if others:
            assert others[0].poll() is not None
            return submit(verb, arguments, log)
        others.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1))
        pid = others[0].pid
        run = Project.open(arguments[0]).run(arguments[1])
        run.append(Started(run=run.id, method="supervised", pid=pid))
        run.claim(pid)
        threading.Timer(0.5, others[0].terminate).start()
        log.write_text(f"semiseg: run {run.id!r} is still going; stop it first\n")
        return FakeHandle(code=1)

    monkeypatch.setattr(workers, "submit", refuse_once)
    results, _ = go(make_bench("supervised"))
    (done,) = results.completed()
    assert workers.started == [done.run]


def test_tables_and_figures(make_bench, workers) -> None:
    pytest.importorskip("matplotlib")
    one = {"one": ("case_0",)}
    both = one | {"three": ("case_0", "case_1", "case_2")}
    workers.empty = {"ug_mcl_1min_seed0"}
    short, long = "1 min", "4 min"
    go(make_bench(labelled=one, test=("case_4",), budgets=(short, long)))
    bench = make_bench(labelled=both, test=("case_4",), budgets=(short,))
    results, _ = go(bench)
    rows = bench.publish(results)
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
