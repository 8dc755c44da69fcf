"""`semiseg predict --cluster`, on workers of this machine."""

from __future__ import annotations

import os
import signal
import tempfile
import time

import numpy as np
import pytest

from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.project.project import Project
from synthetic import save_nifti

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.fixture
def run(ball_project):
    config = TrainingConfig.build(
        method="supervised",
        steps=2,
        width=4,
        patch_zyx=(16, 16, 16),
        precision="fp32",
        feature_maps=False,
    )
    list(engine.train(ball_project, config))
    return ball_project.latest_run()


@pytest.fixture
def predict(semiseg, run, ball_project, monkeypatch):
    """Predict on a cluster by a function; the answer, and all that was printed."""

    def call(function):
        monkeypatch.setattr(engine, "predict_case", function)
        kept = os.dup(2)
        with tempfile.TemporaryFile("w+") as errors:  # of the workers as well
            os.dup2(errors.fileno(), 2)
            try:
                words = ("--run", run.id, "--cluster", "local:2")
                answer = semiseg("predict", ball_project.folder, *words)
            finally:
                os.dup2(kept, 2)
                os.close(kept)
            errors.seek(0)
            return answer, answer.err + errors.read()

    return call


def die_in_case_3(*sent: str | int) -> str:
    """Predict a case; with case_3 the worker dies, each time."""
    if sent[-1] == "case_3":
        with open(os.path.join(str(sent[0]), "died"), "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    return engine.predict_case(*sent)  # a worker has the real one


def ask_to_stop(*sent: str | int) -> str:
    """Predict a case after someone has asked the run to stop."""
    Project.open(sent[0]).run(str(sent[1])).request_stop()
    return engine.predict_case(*sent)  # a worker has the real one


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Unix")
def test_cases_that_fail_are_warnings_and_all_others_are_predicted_once(
    predict, run, ball_project
) -> None:
    broken = ball_project.case("case_2").image
    save_nifti(broken, np.full((24, 24, 24), np.nan, np.float32))
    answer, printed = predict(die_in_case_3)
    assert answer.code == 0
    assert "Predicted 1 of 3 cases" in answer.out
    assert "case case_2 is not predicted" in printed
    assert "case case_3 is not predicted: expected a worker that lives" in printed
    assert "found that 3 have died" in " ".join(printed.split())
    assert (ball_project.folder / "died").read_text() == "xxx"
    for word in ("distributed", "Traceback", "nanny", "Worker"):
        assert word not in printed
    logged = [event.case for event in run.events() if event.type == "predicted"]
    assert logged == ["case_4"]
    warned = [event.message for event in run.events() if event.type == "warned"]
    assert sum("case_3" in message for message in warned) == 1


def test_a_request_to_stop_ends_it(predict, run) -> None:
    begun = time.monotonic()
    answer, printed = predict(ask_to_stop)
    assert answer.code == 130
    assert run.predicted() == ()
    assert "Traceback" not in printed
    assert time.monotonic() - begun < 300
