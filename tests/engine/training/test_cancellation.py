"""A prediction ends when it is asked to, in the middle of a volume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from engine.training.test_live_predictions import SETTINGS
from napari_semiseg import engine
from napari_semiseg.core.case import Split
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Predicted
from napari_semiseg.engine.inference.predictor import Predictor
from napari_semiseg.engine.training import live_predictions
from napari_semiseg.io.atomic import TEMPORARY, write_json
from napari_semiseg.project.runs.prediction_requests import request_predictions
from napari_semiseg.project.runs.run import Run


@pytest.fixture
def run(ball_project):
    list(engine.train(ball_project, TrainingConfig.build(**SETTINGS | {"steps": 2})))
    return ball_project.latest_run()


def gone() -> int:
    """Give the number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def stop_at(monkeypatch, run, owner, name):
    """Ask the run to stop when ``name`` is called for the first time."""
    work, calls = getattr(owner, name), []

    def called(*args, **kwargs):
        calls.append(1)
        (run or args[0]._run).request_stop()
        return work(*args, **kwargs)

    monkeypatch.setattr(owner, name, called)
    return calls


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Predictor, "_predict_window"),  # between windows
        (Predictor, "_filled"),  # before the first one
        ("napari_semiseg.engine.inference.predictor.working_images", None),  # read
        (
            "napari_semiseg.project.runs.predictions.write_labels",
            None,
        ),  # one of the files
        ("napari_semiseg.io.nifti.write_nifti", None),  # and within it
    ],
)
def test_a_stop_is_seen_within_a_volume(ball_project, run, monkeypatch, owner, name):
    cases = ball_project.cases()[-2:]
    list(engine.predict_cases(ball_project, run, cases[:1]))
    before = run.prediction_record(cases[0].id)
    if name is None:
        module, _, name = owner.rpartition(".")
        owner = sys.modules[module]
    calls = stop_at(monkeypatch, run, owner, name)
    assert list(engine.predict_cases(ball_project, run, cases)) == []
    assert len(calls) == 1
    assert run.predicted() == (cases[0].id,)
    assert run.prediction_record(cases[0].id) == before
    assert not list(run.folder.predictions.glob(f"{TEMPORARY}*"))


def test_a_request_of_the_time_before_does_not_count(ball_project, run):
    run.claim(gone())
    run.request_stop()  # meant for that process
    (event,) = engine.predict_cases(ball_project, run, ball_project.cases()[:1])
    assert isinstance(event, Predicted)


def test_a_training_that_predicts_on_the_way_hears_it_too(ball_project, monkeypatch):
    monkeypatch.setattr(live_predictions, "SHARE", 1.0)
    made = Run.create(ball_project, TrainingConfig.build(**SETTINGS))
    calls = stop_at(monkeypatch, made, Predictor, "_predict_window")
    events = []
    training = engine.train(ball_project, TrainingConfig.build(**SETTINGS), run=made)
    for event in training:
        events.append(event)
        if event.type == "planned":
            request_predictions(made, ["case_3"])
    assert len(calls) == 1
    assert events[-1].reason == "cancelled"
    assert 0 < events[-1].step < 20
    assert made.predicted() == ()
    monkeypatch.undo()
    assert list(engine.resume(ball_project, made))[-1].reason == "completed"


def test_a_training_that_validates_hears_it_too(ball_project, spheres, monkeypatch):
    name = spheres.ids[2]
    ball_project.set_label(name, spheres.masks / f"{name}.nii.gz")
    ball_project.set_split(name, Split.VALIDATION)
    config = TrainingConfig.build(**SETTINGS | {"validate_every": 3})
    made = Run.create(ball_project, config)
    calls = stop_at(monkeypatch, made, Predictor, "_predict_window")
    events = list(engine.train(ball_project, config, run=made))
    assert len(calls) == 1
    assert not [event for event in events if event.type == "validated"]
    assert (events[-1].reason, events[-1].step) == ("cancelled", 3)
    monkeypatch.undo()
    again = list(engine.resume(ball_project, made))
    assert again[-1].reason == "completed"
    assert next(event.step for event in again if event.type == "validated") == 6


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, "semiseg stop"])
def test_minutes_of_prediction_end_within_seconds(ball_project, run, how):
    values = run.plan.model_dump(mode="json")
    fine = {"spacing_mm": [0.15, 0.15, 0.15]}
    write_json(run.folder.plan, values | fine)  # many thousand windows
    run.claim(gone())  # the training, which was in this process, is over
    command = [sys.executable, "-m", "napari_semiseg"]
    child = subprocess.Popen(
        [*command, "predict", str(ball_project.folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 120
        while run.pid != child.pid and time.monotonic() < end:
            time.sleep(0.05)
        assert run.pid == child.pid
        time.sleep(1.0)
        assert child.poll() is None
        asked = time.monotonic()
        if isinstance(how, str):
            run.request_stop()
        else:
            child.send_signal(how)
        out, said = child.communicate(timeout=60)
        assert time.monotonic() - asked < 10
    finally:
        child.kill()
    assert child.returncode == 130
    assert "Traceback" not in said
    assert "Predicted 0 of 3 cases" in out
    assert run.predicted() == ()
    folder = run.folder.predictions
    assert not [path for path in folder.rglob("*") if path.is_file()]
