"""`semiseg train|resume|predict --on`: verbs that another computer does."""

from __future__ import annotations

import sys

import pytest

from fake_workers import NOBODY, WorkersHere
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.errors import ConfigError
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.process import SESSION
from napari_semiseg.project.runs.run import Run


@pytest.fixture
def submitted(monkeypatch) -> list[list[str]]:
    """Verbs that another computer has done at once; it has an engine, this one none."""
    made: list[list[str]] = []
    own = sys.modules["napari_semiseg.engine"]

    class Elsewhere(WorkersHere):
        def submit(self, verb, arguments, log):
            made.append([verb, *arguments])
            with monkeypatch.context() as there:
                there.setitem(sys.modules, "napari_semiseg.engine", own)
                return super().submit(verb, arguments, log)

    def executor_at(place: str, project: Project) -> Elsewhere:
        assert place == "ssh:cellar"
        return Elsewhere()

    monkeypatch.setattr("napari_semiseg.execution.place.executor_at", executor_at)
    monkeypatch.setitem(sys.modules, "napari_semiseg.engine", None)
    return made


ON = ("--on", "ssh:cellar")


def test_verbs_are_done_elsewhere_and_told_here(
    ball_project, engine, submitted, semiseg
) -> None:
    folder = ball_project.folder
    engine.count_devices = lambda devices, device: 1
    words = ("--steps", "3", "--devices", "all", "--no-predict", "--json")
    trained = semiseg("train", folder, *words, *ON).json
    assert (trained["reason"], trained["steps"]) == ("completed", 3)
    run = ball_project.run(trained["run"])
    assert run.config.steps == 3
    first = ["train", str(folder), "--run-id", run.id, "--devices", "all"]
    assert submitted == [[*first, "--no-predict"]]
    longer = semiseg("resume", folder, "--steps", "6", "--json", *ON).json
    assert (longer["reason"], longer["steps"]) == ("completed", 6)
    asked = semiseg("predict", folder, "--case", "case_1", "--json", *ON).json
    assert asked["run"] == run.id
    assert submitted[2] == [
        *("predict", str(folder), "--run", run.id, "--maps", "all"),
        *("--case", "case_1"),
    ]
    assert run.has_prediction("case_1")
    refused = semiseg("predict", folder, "--shard", "1/2", *ON).refusal
    assert "expected --shard, --cluster or --on" in refused


def test_what_is_refused_elsewhere_is_refused_here(
    ball_project, engine, submitted, semiseg
) -> None:
    engine.error = ConfigError("expected a GPU, found none")
    said = semiseg("train", ball_project.folder, "--steps", "3", *ON).refusal
    assert said == "semiseg: expected a GPU, found none\n"
    assert ball_project.runs() == []


@pytest.mark.parametrize("session", ["", "0" * 32])
def test_a_prediction_that_was_submitted_hears_a_stop_from_before_it_began(
    ball_project, engine, semiseg, monkeypatch, session
) -> None:
    run = Run.create(ball_project, TrainingConfig())
    run.append(Started(run=run.id, method="x", pid=NOBODY))
    run.append(Finished(run=run.id, reason="completed", step=3, seconds=1.0))
    run.folder.pid.write_text(f"{NOBODY} 1.00\n")
    run.request_stop()
    if session:
        monkeypatch.setenv(SESSION, session)
    asked = []

    def predict_cases(project, run, cases, **_how):
        asked.append((run.stop_requested, run.is_working))
        return iter(())

    monkeypatch.setattr(engine, "predict_cases", predict_cases)
    semiseg("predict", ball_project.folder, "--run", run.id)
    assert asked == [(bool(session), True)]


def test_what_is_submitted_takes_back_a_stop_that_was_meant_for_earlier_work(
    ball_project, engine, submitted, semiseg
) -> None:
    trained = semiseg("train", ball_project.folder, "--steps", "3", "--json", *ON).json
    run = ball_project.run(trained["run"])
    run.request_stop()
    again = semiseg("resume", ball_project.folder, "--steps", "6", "--json", *ON).json
    assert (again["reason"], again["steps"]) == ("completed", 6)
