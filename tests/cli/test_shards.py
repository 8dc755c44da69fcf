"""`semiseg predict --shard`: parts of a cohort, as jobs of an array."""

from __future__ import annotations

import pytest

from fake_workers import NOBODY
from napari_semiseg.cli import training
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished
from napari_semiseg.errors import STOPPED
from napari_semiseg.project.runs.event_log import CheckpointFacts
from napari_semiseg.project.runs.run import Run
from napari_semiseg.project.runs.workers import Worker

CASES = {"case_2", "case_3", "case_4"}


@pytest.fixture
def run(ball_project, engine, monkeypatch) -> Run:
    made = Run.create(ball_project, TrainingConfig(), "model")
    made.folder.checkpoints.mkdir()
    made.folder.last.touch()
    step = CheckpointFacts(7, 1.0)
    monkeypatch.setattr("napari_semiseg.cli.training.checkpoint_facts", lambda _: step)
    return made


def test_all_shards_together_predict_each_case_once(ball_project, run, semiseg) -> None:
    found = [
        semiseg("predict", ball_project.folder, "--shard", f"{part}/2", "--json").json
        for part in (1, 2)
    ]
    names = [name for one in found for name in one["predicted"]]
    assert sorted(names) == sorted(CASES)
    assert all(one["predicted"] for one in found)
    assert not run.folder.stop.exists()


def test_a_shard_that_runs_again_leaves_what_is_done(
    ball_project, run, semiseg, monkeypatch
) -> None:
    words = ("predict", ball_project.folder, "--shard", "1/1", "--json")
    assert set(semiseg(*words, "--maps", "none").json["predicted"]) == CASES
    assert semiseg(*words, "--maps", "none").json["predicted"] == []
    assert set(semiseg(*words).json["predicted"]) == CASES  # maps are wanted now
    assert semiseg(*words).json["predicted"] == []
    newer = CheckpointFacts(9, 1.0)
    monkeypatch.setattr("napari_semiseg.cli.training.checkpoint_facts", lambda _: newer)
    assert set(semiseg(*words).json["predicted"]) == CASES  # by another model


def test_cases_that_are_named_are_predicted_though_labelled(
    ball_project, run, semiseg
) -> None:
    words = ("predict", ball_project.folder, "--case", "case_0", "--shard", "1/1")
    assert semiseg(*words, "--json").json["predicted"] == ["case_0"]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "x", "1/", "-1/2", "1/2/3"])
def test_a_shard_that_makes_no_sense_is_refused(
    ball_project, run, semiseg, shard
) -> None:
    refused = semiseg("predict", ball_project.folder, "--shard", shard)
    assert "expected --shard as 1/8" in refused.refusal
    refused = semiseg("predict", ball_project.folder, "--maps", "some")
    assert "--maps all or none" in refused.refusal


def test_a_stop_ends_both_shards_of_an_array_also_the_one_that_starts_late(
    ball_project, run, semiseg, engine, monkeypatch
) -> None:
    folder, predict_cases = ball_project.folder, engine.predict_cases
    asked = []

    def stopped_after_one(project, run, cases, *, worker, **how):
        for case in cases:
            if worker.stop_requested:
                return
            yield from predict_cases(project, run, [case], **how)
            if not asked:
                asked.append(training.stop(folder, json=True))

    monkeypatch.setattr(engine, "predict_cases", stopped_after_one)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "77")
    words = ("predict", folder, "--case", "case_0", "--case", "case_1")
    words += ("--case", "case_2", "--case", "case_3", "--json", "--shard")
    first = semiseg(*words, "1/2")
    assert (first.code, len(run.predicted())) == (STOPPED, 1)
    late = semiseg(*words, "2/2")
    assert (late.code, late.json["predicted"]) == (STOPPED, [])
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "78")
    again = semiseg(*words, "2/2")
    assert (again.code, len(again.json["predicted"])) == (0, 2)


def test_a_stop_is_taken_while_parts_of_an_array_wait_and_none_is_at_work(
    ball_project, run, semiseg, monkeypatch
) -> None:
    folder = ball_project.folder
    words = ("predict", folder, "--run", run.id, "--json", "--shard")
    run.folder.pid.unlink()
    run.append(Finished(run=run.id, reason="completed", step=7, seconds=1.0))
    assert "nothing to stop" in semiseg("stop", folder, run.id).refusal
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "77")
    assert semiseg(*words, "1/2").code == 0
    _end_workers(run, monkeypatch)
    answer = semiseg("stop", folder)
    assert answer.code == 0, answer.err
    assert "those that are still to begin end at once" in answer.out
    late = Worker(run.folder, "shard-2-of-2")
    assert late.stop_requested


def _end_workers(run, monkeypatch) -> None:
    """Let the processes of workers be gone: here they are this one."""
    for path in run.folder.workers.glob("*.pid"):
        _, *rest = path.read_text().splitlines()
        path.write_text("\n".join([f"{NOBODY} 1.00", *rest, ""]))
    assert not run.has_workers
