"""What a terminal shows of a training or an experiment meanwhile."""

from __future__ import annotations

import pytest

from napari_semiseg.cli.display import ExperimentDisplay, RunDisplay
from napari_semiseg.core.events import (
    Decided,
    Learned,
    Predicted,
    Staged,
    Started,
    Stepped,
)
from napari_semiseg.experiments.experiment import Remaining, TrialFinished, TrialStarted


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


def test_trials_at_once_are_counted_when_they_end(shown) -> None:
    begun = [TrialStarted(f"seed {n}", n + 1, 2, done=0) for n in range(2)]
    ended = [TrialFinished(f"seed {n}: Dice 0.9", None) for n in range(2)]
    assert "0/2" in shown(*begun)
    assert "2/2" in shown(*begun, *ended)
    assert "2/2" in shown(TrialStarted("seed 1", 2, 2), ended[1])  # one was done


def test_predicting_is_not_a_training_that_is_done(shown) -> None:
    predicted = Predicted(case="case_4", uncertainty=0.1, done=1, total=3)
    said = shown(began(None, 0.0), stepped(100), predicted)
    assert "Predicting" in said
    assert "1/3" in said
    assert "100/100" not in said


def test_progress_tells_what_happens_on_the_way(capsys) -> None:
    with RunDisplay(quiet=False) as display:
        display.take(Started(run="second", method="dtml", pid=1, source="first"))
        display.take(Learned(step=7, cases=("a",), labelled=3, unlabelled=2))
        display.take(Decided(step=8, message="scans are not used yet at step 8"))
        display.take(
            Predicted(case="b", uncertainty=0.5, done=1, total=1, training_step=9)
        )
    said = capsys.readouterr().err
    assert "second (dtml), begins with first" in said
    assert "From step 7 on it learns from the new labels of a (3 labelled" in said
    assert "Scans are not used yet at step 8" in said
    assert "b was predicted anew at step 9" in said
    assert display.summary.predicted == []


@pytest.mark.parametrize("columns", [70, 80, 120])
def test_bar_count_and_time_have_room_beside_a_long_note(
    capsys, monkeypatch, columns
) -> None:
    """Of the note, what does not fit is cut."""
    monkeypatch.setenv("COLUMNS", str(columns))
    losses = dict.fromkeys(("supervised", "distance_mask", "distance"), 0.25)
    with RunDisplay(quiet=False) as display:
        display.take(Staged(stage="Preparing unlabelled cases", done=152, total=152))
        display.take(
            Stepped(
                step=100,
                steps=1500,
                losses=losses,
                learning_rate=0.1,
                seconds=20.0,
                seconds_left=280.0,
            )
        )
    prepared, training = capsys.readouterr().err.rstrip().splitlines()
    assert prepared.startswith("Preparing unlabelled cases ━")
    assert "━ 152/152" in prepared
    assert "100/1500 0:00:00 -:--:-- super" in training
    assert len(training) <= columns
