from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started, Stepped
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.atomic import read_json
from napari_semiseg.project.runs import predictions
from napari_semiseg.project.runs.process import Claim
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_semiseg.core.geometry import Geometry


def stepped(step: int) -> Stepped:
    return Stepped(
        step=step,
        steps=9,
        losses={"supervised": 1.0},
        learning_rate=0.1,
        seconds=step / 2,
        seconds_left=1.0,
    )


def ended(run: Run, reason: str = "completed") -> Finished:
    return Finished(run=run.id, reason=reason, step=9, seconds=4.5)


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture
def run(ball_project) -> Run:
    return Run.create(ball_project, TrainingConfig(steps=9, params={"passes": 2}))


def test_a_new_run_remembers_what_was_asked_and_where(run, ball_project) -> None:
    again = ball_project.run(run.id)
    assert again.config == TrainingConfig(steps=9, params={"passes": 2})
    assert "None" not in run.folder.config.read_text()
    environment = read_json(run.folder.environment)
    assert environment["packages"]["napari-semiseg"]
    assert environment["packages"]["numpy"] == np.__version__
    assert run.plan is None
    assert run.status == "preparing"


def test_ids_count_per_day_and_method_and_are_never_reused(run, ball_project) -> None:
    second = Run.create(ball_project, TrainingConfig())
    other = Run.create(ball_project, TrainingConfig(method="a/b"))
    assert run.id.endswith("_auto_01")
    assert second.id.endswith("_auto_02")
    assert other.id.endswith("_a-b_01")
    assert [item.id for item in ball_project.runs()] == [run.id, second.id, other.id]
    with pytest.raises(ProjectError, match="exists"):
        Run.create(ball_project, TrainingConfig(), run_id=run.id)
    with pytest.raises(ProjectError, match="auto_02"):
        ball_project.run("nonsense")


def test_the_status_follows_from_the_log_and_the_process(run) -> None:
    pid = os.getpid()
    run.append(Started(run=run.id, method="ug_mcl", pid=pid))
    run.append(stepped(3))
    assert (run.status, run.steps_done, run.seconds) == ("running", 3, 1.5)
    run.append(ended(run))
    assert (run.status, run.steps_done, run.seconds) == ("completed", 9, 4.5)
    run.append(Started(run=run.id, method="ug_mcl", pid=dead_pid(), step=9))
    assert run.status == "interrupted"
    run.append(ended(run, "cancelled"))
    assert run.status == "cancelled"


def test_a_pid_that_went_to_a_younger_process_is_not_the_run(run) -> None:
    run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid(), at=1000.0))
    assert run.status == "running"  # whatever the clock said, it is this process
    claim = Claim.of(os.getpid())
    run.folder.pid.write_text(replace(claim, started=claim.started - 100).text)
    assert run.status == "interrupted"
    run.folder.pid.unlink()
    assert run.status == "interrupted"


def test_a_run_whose_process_died_before_it_started_is_interrupted(run) -> None:
    run.claim(dead_pid())
    assert run.status == "interrupted"
    assert not run.is_working


def test_torn_lines_are_left_out_and_do_not_spoil_the_next(run) -> None:
    run.append(stepped(1))
    with run.folder.events.open("ab") as log:
        log.write(b'{"type": "stepped", "st')
    assert [event.step for event in run.events()] == [1]
    run.append(stepped(2))
    assert [event.step for event in run.events()] == [1, 2]


def test_the_events_of_a_long_log_are_read_one_at_a_time(run) -> None:
    run.folder.events.write_text((stepped(3).to_line() + "\n") * 5_000)
    tracemalloc.start()
    steps = sum(event.step for event in run.events())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert steps == 15_000
    assert peak < run.folder.events.stat().st_size / 2


@pytest.mark.parametrize("name", ["", "..", "a/b", "../case_3", "case_3/", "a\0"])
def test_what_is_no_id_has_no_prediction(run, name) -> None:
    folder = run.folder.prediction("case_3")
    folder.path.mkdir(parents=True)
    folder.json.touch()
    assert run.has_prediction("case_3")
    assert not run.has_prediction(name)


def test_a_run_that_never_started_can_be_discarded(run, ball_project) -> None:
    run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
    run.discard()
    assert ball_project.runs() == [run]
    run.folder.events.unlink()
    run.discard()
    assert not ball_project.layout.runs.exists()


def damage(log: Path, how: str) -> None:
    """Spoil an event log as a crash or a full disk does."""
    if how == "missing":
        log.unlink()
    else:
        log.write_bytes(b"" if how == "empty" else b"\0" * log.stat().st_size)


@pytest.mark.parametrize("how", ["empty", "zeros", "missing"])
@pytest.mark.parametrize(
    "held", ["checkpoints/last.pt", "predictions/a/x", "plan.json"]
)
def test_a_run_that_holds_anything_outlives_its_log(run, how, held) -> None:
    run.append(Started(run=run.id, method="ug_mcl", pid=dead_pid()))
    kept = run.folder.path / held
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(b"1")
    damage(run.folder.events, how)
    again = Run(run.folder)
    again.discard()
    assert kept.read_bytes() == b"1"
    assert again.started
    again.claim(dead_pid())
    assert (again.status, again.steps_done, again.seconds) == ("interrupted", 0, 0.0)


def test_status_reads_only_what_was_appended_and_sees_a_log_that_shrank(run) -> None:
    run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
    for step in range(1, 6):
        run.append(stepped(step))
    assert (run.status, run.steps_done, run.seconds) == ("running", 5, 2.5)
    whole = run.folder.events.read_bytes()
    run.folder.events.write_bytes(b"?" * len(whole) + b"\n")
    run.append(stepped(6))
    assert run.steps_done == 6
    run.folder.events.write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 1])
    assert run.steps_done == 4
    with run.folder.events.open("ab") as log:
        log.write(b'{"type":"stepped","step":x}\n')
    assert run.steps_done == 4


def test_a_log_with_spaces_as_other_programs_write_it_is_read_too(run) -> None:
    events = (Started(run=run.id, method="dtml", pid=1), stepped(4), ended(run))
    lines = (json.dumps(json.loads(event.to_line())) for event in events)
    run.folder.events.write_text("".join(f"{line}\n" for line in lines))
    assert (run.status, run.steps_done, run.seconds) == ("completed", 9, 4.5)


def test_a_full_disk_leaves_no_half_of_a_new_run(ball_project, monkeypatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("napari_semiseg.io.atomic._flush", full)
    with pytest.raises(ProjectError, match="No space left"):
        Run.create(ball_project, TrainingConfig())
    assert ball_project.runs() == []
    assert not ball_project.layout.runs.exists()


def test_a_claim_takes_back_what_another_process_was_asked(run) -> None:
    run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
    run.request_stop()
    run.claim()  # of the same process
    assert run.stop_requested
    run.claim(dead_pid())
    assert not run.stop_requested


def test_a_stop_before_the_first_session_waits_for_it(run) -> None:
    run.request_stop()
    run.claim(dead_pid())
    assert run.stop_requested


def test_only_one_process_trains_a_run(run) -> None:
    with run.claimed_alone():
        again = Run(run.folder)
        with pytest.raises(ProjectError, match="still going"), again.claimed_alone():
            pass
    with run.claimed_alone():
        pass


def test_a_claim_that_logged_nothing_is_taken_back(run) -> None:
    run.claim(dead_pid())
    before = run.claimed
    with run.claimed_alone():
        assert run.pid == os.getpid()
    assert run.claimed == before
    with run.claimed_alone():
        run.append(Started(run=run.id, method="ug_mcl", pid=os.getpid()))
    assert run.pid == os.getpid()


def test_stop_is_a_file(run) -> None:
    assert not run.stop_requested
    run.request_stop()
    assert run.stop_requested
    run.clear_stop()
    assert not run.stop_requested


def test_a_prediction_comes_back_within_its_precision(
    run, ball_project, predict_ball
) -> None:
    case = ball_project.case("case_3")
    made = predict_ball(run, case)
    run.write_prediction(made, case.image)
    found = run.read_prediction("case_3", case.geometry)
    assert found.record == made.record
    assert np.array_equal(found.labels, made.labels)
    assert found.sdm_mm.shape == (1, *case.geometry.shape_zyx)
    assert np.abs(found.sdm_mm - made.sdm_mm).max() < 1e-3
    assert np.abs(found.uncertainty - made.uncertainty).max() < 1 / 400
    assert run.predicted() == ("case_3",)
    assert ball_project.prediction_run("case_3") == run
    with pytest.raises(ProjectError, match="semiseg predict"):
        run.read_prediction("case_4", case.geometry)


def test_what_is_read_is_of_one_prediction_though_another_takes_its_place(
    run, ball_project, predict_ball, monkeypatch
) -> None:
    case = ball_project.case("case_3")
    old = predict_ball(run, case, uncertainty=0.2)
    new = replace(
        predict_ball(run, case, uncertainty=0.9), labels=np.zeros_like(old.labels)
    )
    run.write_prediction(old, case.image)
    read_labels = predictions.read_labels

    def replaced_meanwhile(path: Path, geometry: Geometry) -> NDArray[np.uint8]:
        monkeypatch.undo()
        run.write_prediction(new, case.image)
        return read_labels(path, geometry)

    monkeypatch.setattr(predictions, "read_labels", replaced_meanwhile)
    record, labels = run.read_mask("case_3", case.geometry)
    assert record == new.record
    assert not labels.any()


def test_a_record_that_is_just_being_replaced_is_waited_for(
    run, ball_project, predict_ball
) -> None:
    case = ball_project.case("case_3")
    run.write_prediction(predict_ball(run, case), case.image)
    record = run.folder.prediction("case_3").json
    away = record.rename(record.with_name("away"))
    Timer(0.05, lambda: away.rename(record)).start()
    assert run.prediction_record("case_3").case == "case_3"


def test_a_prediction_that_cannot_be_put_in_its_place_is_told_in_one_line(
    run, ball_project, predict_ball, monkeypatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(predictions, "rename", full)
    case = ball_project.case("case_3")
    with pytest.raises(ProjectError, match="No space left"):
        run.write_prediction(predict_ball(run, case), case.image)


def test_a_torn_prediction_is_never_seen(
    run, ball_project, predict_ball, monkeypatch
) -> None:
    case = ball_project.case("case_3")
    run.write_prediction(predict_ball(run, case, uncertainty=0.2), case.image)

    def die(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_semiseg.project.runs.predictions.write_map", die)
    with pytest.raises(KeyboardInterrupt):
        run.write_prediction(predict_ball(run, case, uncertainty=0.9), case.image)
    assert run.prediction_record("case_3").score.uncertainty == 0.2
    monkeypatch.undo()
    moved: list[Path] = []

    def die_second(source: Path, target: Path) -> None:
        moved.append(target)
        if len(moved) == 2:
            raise KeyboardInterrupt
        source.replace(target)

    monkeypatch.setattr("napari_semiseg.project.runs.predictions.rename", die_second)
    with pytest.raises(KeyboardInterrupt):
        run.write_prediction(predict_ball(run, case, uncertainty=0.9), case.image)
    assert run.predicted() == ()
    assert not run.has_prediction("case_3")


def test_the_newest_model_is_the_latest_finished_run(run, ball_project) -> None:
    newer = Run.create(ball_project, TrainingConfig())
    assert ball_project.latest_run() == newer
    assert ball_project.latest_run(finished=True) is None
    run.folder.checkpoints.mkdir()
    run.folder.last.touch()
    run.append(Started(run=run.id, method="ug_mcl", pid=dead_pid()))
    assert ball_project.latest_run(finished=True) == run
