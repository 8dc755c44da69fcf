"""Several processes that predict for one run."""

from __future__ import annotations

import os
import time

import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Predicted, Warned
from napari_semiseg.project.runs import process
from napari_semiseg.project.runs.process import heartbeat
from napari_semiseg.project.runs.run import Run
from napari_semiseg.project.runs.workers import Worker


@pytest.fixture
def run(ball_project) -> Run:
    made = Run.create(ball_project, TrainingConfig())
    made.append(Warned(message="of the training"))
    return made


def array(job: str) -> dict[str, str]:
    return {"SLURM_ARRAY_JOB_ID": job}


def test_a_stop_reaches_the_jobs_of_an_array_that_start_late(run) -> None:
    first = Worker(run.folder, "shard-1-of-2", array("7"))
    with first.at_work():
        assert run.has_workers
        assert not first.stop_requested
        run.request_stop()
        assert first.stop_requested
    late = Worker(run.folder, "shard-2-of-2", array("7"))
    assert late.stop_requested
    another = Worker(run.folder, "shard-2-of-2", array("8"))
    by_hand = Worker(run.folder, "shard-2-of-2", {})
    assert not another.stop_requested
    assert not by_hand.stop_requested
    run.request_stop()
    assert another.stop_requested
    assert by_hand.stop_requested
    assert run.stop_requested  # no worker takes it back


def test_an_array_has_parts_left_until_each_has_done_its_own(run) -> None:
    assert not run.awaits_workers
    by_hand = Worker(run.folder, "shard-1-of-3", {})
    with by_hand.at_work():
        pass
    assert not run.awaits_workers  # nobody tells what is to come
    for part in (1, 2):
        with Worker(run.folder, f"shard-{part}-of-2", array("7")).at_work():
            assert run.awaits_workers
        assert run.awaits_workers == (part == 1)
    with Worker(run.folder, "shard-2-of-2", array("8")).at_work():
        pass
    assert run.awaits_workers
    broken = Worker(run.folder, "shard-1-of-2", array("8"))
    with pytest.raises(OSError, match="full"), broken.at_work():
        raise OSError("full")
    assert run.awaits_workers  # it may be started again


def test_a_signal_to_one_worker_stops_it_alone(run) -> None:
    first, second = (Worker(run.folder, name, {}) for name in "ab")
    first.request_stop()
    assert first.stop_requested
    assert not second.stop_requested
    assert not run.stop_requested


def test_each_worker_writes_a_log_of_its_own(run) -> None:
    for name in ("b", "a"):
        worker = Worker(run.folder, name, {})
        with worker.at_work():
            worker.append(Predicted(case=name, uncertainty=0.1, done=1, total=1))
    lines = run.folder.events.read_text().splitlines()
    assert len(lines) == 1
    found = [event.case for event in run.events() if event.type == "predicted"]
    assert found == ["a", "b"]


def test_a_worker_of_another_computer_lives_while_it_shows_it(run, monkeypatch) -> None:
    monkeypatch.setattr(process, "machine", lambda: "elsewhere")
    monkeypatch.setattr(process, "BEAT_S", 0.02)
    worker = Worker(run.folder, "a", {})
    with worker.at_work():
        monkeypatch.undo()
        assert run.has_workers
    old = time.time() - 2 * process.QUIET_S
    os.utime(run.folder.workers / "a.pid", (old, old))
    assert not run.has_workers


def test_a_heartbeat_renews_a_file_until_its_end(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(process, "BEAT_S", 0.01)
    path = tmp_path / "pid"
    path.touch()
    os.utime(path, (1.0, 1.0))
    with heartbeat(path):
        end = time.monotonic() + 20
        while path.stat().st_mtime == 1.0 and time.monotonic() < end:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1.0
    time.sleep(0.1)
    os.utime(path, (1.0, 1.0))
    time.sleep(0.1)
    assert path.stat().st_mtime == 1.0


def test_a_damaged_claim_is_no_worker(run) -> None:
    run.folder.workers.mkdir()
    for name, text in (("a", ""), ("b", "17"), ("c", "x\ny\n"), ("d", "1\n2\n3\n")):
        (run.folder.workers / f"{name}.pid").write_text(text)
    assert not run.has_workers
    run.request_stop()
    assert run.stop_requested


def test_a_mask_that_is_stored_alone_has_its_own_distances(
    ball_project, run, predict_ball
) -> None:
    case = ball_project.case("case_3")
    made = predict_ball(run, case)
    run.write_prediction(made, case.image)
    step = made.record.step
    assert run.is_predicted(case, step)
    assert not run.is_predicted(case, step + 1)
    run.write_prediction(made, case.image, maps=False)
    folder = run.folder.prediction(case.id)
    assert {path.name for path in folder.path.iterdir()} == {
        folder.labels.name,
        folder.json.name,
    }
    assert run.is_predicted(case, step, maps=False)
    assert not run.is_predicted(case, step)
    read = run.read_prediction(case, case.geometry)
    assert ((read.sdm_mm[0] < 0) == (made.labels > 0)).all()
    assert not read.uncertainty.any()
