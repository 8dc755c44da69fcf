"""Predictions of requested cases while a training runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Predicted
from napari_semiseg.engine.data.label_schedule import Schedule
from napari_semiseg.engine.training import live_predictions
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.engine.training.live_predictions import LivePredictions
from napari_semiseg.project.runs.prediction_requests import (
    MAX_REQUESTS,
    request_predictions,
    requested_predictions,
)
from napari_semiseg.project.runs.run import Run

SETTINGS = {
    "method": "supervised",
    "steps": 20,
    "width": 4,
    "patch_zyx": (16, 16, 16),
    "precision": "fp32",
    "refresh_seconds": 0.0,
}


def train(project, *cases):
    """Train; ask for ``cases`` when the first step is near."""
    events = []
    for event in engine.train(project, TrainingConfig.build(**SETTINGS)):
        events.append(event)
        if event.type == "planned":
            request_predictions(project.latest_run(), cases)
    return events, project.latest_run()


def test_requested_cases_are_predicted_on_the_way(ball_project, monkeypatch):
    monkeypatch.setattr(live_predictions, "SHARE", 1.0)
    events, run = train(ball_project, "case_3", "gone", "case_4")
    made = [event for event in events if isinstance(event, Predicted)]
    assert {event.case for event in made} == {"case_3", "case_4"}
    assert all(2 <= event.training_step < 20 for event in made)
    record = run.prediction_record("case_3")
    last = [event for event in made if event.case == "case_3"][-1]
    assert (record.step, record.run) == (last.training_step, run.id)
    assert record.at <= last.at
    assert [event.to_line() for event in run.events()] == [
        event.to_line() for event in events
    ]
    _, without = train(ball_project)
    first, second = (
        Checkpoint.load(one.folder.last).students["student"] for one in (run, without)
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_broken_image_is_told_and_the_training_goes_on(
    ball_project, spheres, monkeypatch
):
    monkeypatch.setattr(live_predictions, "SHARE", 1.0)
    (spheres.images / "case_4.nii.gz").write_bytes(b"nothing")
    events, _ = train(ball_project, "case_4")
    said = [event.message for event in events if event.type == "warned"]
    assert "case case_4 is not predicted" in said[-1]
    assert events[-1].reason == "completed"


def test_a_volume_that_would_hold_the_training_up_is_told_once(
    ball_project, monkeypatch
):
    monkeypatch.setattr(live_predictions, "SHARE", 0.01)
    events, run = train(ball_project, "case_3")
    said = [event.message for event in events if event.type == "warned"]
    assert [text for text in said if "case_3 is too large" in text] == said[-1:]
    assert not run.has_prediction("case_3")


class Clock:
    """Seconds that pass when told to."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(live_predictions.time, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def pretend(ball_project, clock, monkeypatch):
    """A training of a step a second whose predictions take four; steps and cases."""
    run = Run.create(ball_project, TrainingConfig())
    trainer = SimpleNamespace(step=0, schedule=Schedule())
    found = []

    def predict(self, name, _trainer):
        found.append((_trainer.step, name))
        clock.now += 4

    monkeypatch.setattr(LivePredictions, "_predict", predict)
    settings = TrainingConfig(refresh_seconds=30)
    plan = SimpleNamespace(steps=1000)
    live_predictions = LivePredictions(
        ball_project, run, settings, plan, is_warm_started=False
    )

    def go(steps):
        for _ in range(steps):
            trainer.step += 1
            clock.now += 1
            list(live_predictions.events(trainer))

    return SimpleNamespace(
        run=run, trainer=trainer, found=found, go=go, begun=clock.now, clock=clock
    )


def test_predictions_wait_for_a_model_and_take_a_tenth_of_the_time(pretend):
    request_predictions(pretend.run, ["case_2", "case_3"])
    pretend.go(99)
    assert pretend.found == []
    pretend.go(600)
    steps = [step for step, _ in pretend.found]
    spent = pretend.clock.now - pretend.begun
    assert 4 * (len(steps) - 1) <= 0.1 * spent
    assert 4 * len(steps) >= 0.08 * spent
    names = [name for _, name in pretend.found]
    assert abs(names.count("case_2") - names.count("case_3")) <= 1


def test_nobody_asks_nothing_is_predicted(pretend):
    pretend.go(300)
    request_predictions(pretend.run, [])
    pretend.go(300)
    assert pretend.found == []


def test_the_open_case_comes_first_once_a_correction_is_learnt(pretend):
    request_predictions(pretend.run, ["case_2", "case_3"])
    pretend.go(400)
    schedule = pretend.trainer.schedule
    schedule.updates.append(SimpleNamespace(step=401, versions={}, new_labels=()))
    request_predictions(pretend.run, ["case_4", "case_3"])
    before = len(pretend.found)
    pretend.go(25)
    early = [name for step, name in pretend.found[before:] if step < 426]
    assert early in ([], ["case_4"])
    pretend.go(100)
    late = [name for step, name in pretend.found if step >= 426]
    assert late[:2] in (["case_4", "case_3"], ["case_3", "case_4"])


def test_only_a_readable_wish_is_heard(ball_project):
    run = Run.create(ball_project, TrainingConfig())
    assert requested_predictions(run) == ()
    request_predictions(run, [f"case_{number}" for number in range(9)])
    assert requested_predictions(run) == tuple(
        f"case_{number}" for number in range(MAX_REQUESTS)
    )
    for text in ("{", "[]", '{"cases": "case_1"}', '{"cases": [1, "case_2"]}'):
        run.folder.prediction_requests.write_text(text)
        assert requested_predictions(run) in ((), ("case_2",))
