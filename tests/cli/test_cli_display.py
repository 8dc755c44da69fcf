"""What a terminal shows of an experiment while it goes on."""

from __future__ import annotations

import pytest

from napari_semiseg.cli.display import ExperimentDisplay
from napari_semiseg.core.events import Predicted, Stepped
from napari_semiseg.experiments.experiment import Remaining, TrialStarted


@pytest.fixture
def shown(capsys, monkeypatch):
    """Bars and lines after events, as they are where nothing moves."""
    monkeypatch.setenv("COLUMNS", "140")

    def show(*events) -> str:
        with ExperimentDisplay("Benchmark", quiet=False) as display:
            for event in events:
                display.take(event)
        return capsys.readouterr().err

    return show


def began(minutes: float | None, seconds: float, steps: int = 0) -> TrialStarted:
    return TrialStarted("supervised", 1, 4, Remaining(minutes, seconds, steps))


def stepped(step: int) -> Stepped:
    return Stepped(
        step=step,
        steps=100,
        losses={},
        learning_rate=0.1,
        seconds=2.0 * step,
        seconds_left=2.0 * (100 - step),
    )


def test_all_that_is_left_is_told(shown) -> None:
    assert "about 30 min left" in shown(began(10, 1200.0))
    assert "about 1200 s left" not in shown(began(None, 1200.0))
    # 100 s of this training, 500 s after it, and 300 steps of 2 s.
    said = shown(began(None, 500.0, steps=300), stepped(50))
    assert "about 20 min left" in said


def test_predicting_is_not_a_training_that_is_done(shown) -> None:
    predicted = Predicted(case="case_4", uncertainty=0.1, done=1, total=3)
    said = shown(began(None, 0.0), stepped(100), predicted)
    assert "Predicting" in said
    assert "1/3" in said
    assert "100/100" not in said
