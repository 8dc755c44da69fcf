"""The benchmark from the command line, with real trainings of a few steps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from synthetic import ball, save_nifti, snapshot

TINY = (
    "--set=width=4",
    "--set=patch_zyx=[16,16,16]",
    "--set=labelled_batch=1",
    "--set=unlabelled_batch=1",
    "--set=precision=fp32",
)
pytestmark = pytest.mark.engine


@pytest.fixture
def words(tmp_path):
    """A data set of seven balls, its lists, and the words of a command on it."""
    data = tmp_path / "Balls"
    for number in range(7):
        mask = ball(number)
        noise = np.random.default_rng(number).normal(0, 10, mask.shape)
        image = (100 * mask + noise).astype(np.int16)
        save_nifti(data / "imagesTr" / f"case_{number}.nii.gz", image)
        save_nifti(data / "labelsTr" / f"case_{number}.nii.gz", mask)
    lists = {"few": (0, 1), "rest": (0, 1, 2, 3), "held": (4, 5, 6)}
    for name, numbers in lists.items():
        text = "".join(f"case_{number}\n" for number in numbers)
        (tmp_path / f"{name}.list").write_text(text)

    def make(**changes):
        options = {
            "labelled": tmp_path / "few.list",
            "unlabelled": tmp_path / "rest.list",
            "test": tmp_path / "held.list",
            "methods": "supervised",
            "steps": 3,
            "out": tmp_path / "out",
        } | changes
        given = [(f"--{key}", str(value)) for key, value in options.items() if value]
        return ["bench", str(data), *(word for pair in given for word in pair), *TINY]

    return make


@pytest.mark.timeout(1800)
def test_a_cluster_gives_the_scores_of_one_training_after_the_other(
    semiseg, workers_here, words, tmp_path
) -> None:

    def scores(out, *more):
        asked = words(methods="supervised,mean_teacher", out=tmp_path / out)
        answer = semiseg(*asked, *more, "--json")
        assert answer.code == 0, answer.err
        runs = json.loads((tmp_path / out / "results.json").read_text())["runs"]
        return {run["method"]: (run["steps"], run["cases"]) for run in runs}

    assert scores("cluster", "--cluster", "local:2") == scores("turns")
    refused = semiseg(*words(steps=None, minutes=1), "--cluster", "local:2")
    assert "expected --steps with --cluster" in refused.err


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Unix")
@pytest.mark.timeout(900)
def test_a_killed_worker_of_a_cluster_takes_its_training_along_and_another_goes_on(
    semiseg, workers_here, words, tmp_path
) -> None:
    """Its child would hold the run, so that the next worker is refused."""
    killed: list[psutil.Process] = []

    def kill() -> None:
        folders = tmp_path / "cluster" / "projects"
        for child in steps_of_a_child(folders):
            worker = psutil.Process(child.ppid())
            assert worker.pid != os.getpid()
            killed.append(child)
            worker.kill()

    def scores(out: str, *more: str) -> list[object]:
        asked = words(steps=80, out=tmp_path / out)
        answer = semiseg(*asked, "--set=checkpoint_seconds=0.2", *more, "--json")
        assert answer.code == 0, answer.err
        assert answer.err == ""
        runs = json.loads((tmp_path / out / "results.json").read_text())["runs"]
        return [(run["steps"], run["cases"]) for run in runs]

    killer = threading.Thread(target=kill)
    killer.start()
    found = scores("cluster", "--cluster", "local:2")
    killer.join(60)
    (child,) = killed
    assert not child.is_running()
    (log,) = (tmp_path / "cluster").rglob("events.jsonl")
    assert log.read_text().count('"started"') == 2
    assert found == scores("turns")


def steps_of_a_child(folder, seconds=120.0):
    """Give the process of the first training that has written a checkpoint."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for model in folder.rglob("last.pt"):
            log = model.parent.parent / "events.jsonl"
            first = json.loads(log.read_text().splitlines()[0])
            yield psutil.Process(first["pid"])
            return
        time.sleep(0.05)


def test_a_benchmark_of_two_methods(semiseg, workers_here, words, tmp_path) -> None:
    answer = semiseg(*words(methods="supervised,ug_mcl"), "--json")
    assert answer.code == 0, answer.err
    assert answer.err == ""
    said = answer.json
    assert said["failed"] == []
    assert {row["method"] for row in said["table"]} == {"supervised", "ug_mcl"}
    tests = {row["method"]: row["tests"] for row in said["table"]}
    assert 0 < tests["ug_mcl"]["dice"]["p_holm"] <= 1
    stored = json.loads((tmp_path / "out" / "results.json").read_text())
    assert said["results"] == str(tmp_path / "out" / "results.json")
    for run in stored["runs"]:
        assert (run["status"], run["steps"], run["device"]) != ("failed", 0, None)
        assert 50 < run["peak_memory_mb"] < 5000
        assert run["parameters"] > 1000
        assert sorted(run["cases"]) == ["case_4", "case_5", "case_6"]
        assert 0 <= run["cases"]["case_4"]["class 1"]["dice"] <= 1
    assert "`ug_mcl`" in (tmp_path / "out" / "results.md").read_text()
    again = semiseg(*words(methods="supervised,ug_mcl"))
    assert again.code == 0
    assert "results.md" in again.out


def test_a_benchmark_of_several_channels(
    semiseg, workers_here, words, tmp_path
) -> None:
    """Channels are learned from together; a case without all of them is refused."""
    images = tmp_path / "Balls" / "imagesTr"
    for number in range(7):
        first = images / f"case_{number}.nii.gz"
        other = (50 * (1 - ball(number))).astype(np.int16)
        save_nifti(images / f"case_{number}_0001.nii.gz", other)
        first.rename(images / f"case_{number}_0000.nii.gz")
    described = {
        "channel_names": {"0": "T1", "1": "FLAIR"},
        "labels": {"background": 0, "ball": 1},
    }
    (tmp_path / "Balls" / "dataset.json").write_text(json.dumps(described))
    answer = semiseg(*words(), "--json")
    assert answer.code == 0, answer.err
    (run,) = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
    assert sorted(run["cases"]) == ["case_4", "case_5", "case_6"]
    (plan,) = (tmp_path / "out" / "projects").glob("*/runs/*/plan.json")
    assert json.loads(plan.read_text())["channels"] == ["T1", "FLAIR"]
    (images / "case_5_0001.nii.gz").unlink()
    refused = semiseg(*words(out=tmp_path / "other"))
    assert refused.code == 1
    (line,) = refused.err.strip().splitlines()
    assert "expected 2 channels of 'case_5', found no FLAIR" in line


def test_a_failed_run_is_the_last_word(semiseg, workers_here, words, tmp_path) -> None:
    # Of all that goes wrong in the worker alone, this can be had at will.
    answer = semiseg(*words(steps=20), "--set=learning_rate=1e30")
    assert answer.code == 1
    last = answer.err.strip().splitlines()[-1]
    assert "found that 1 failed" in last
    assert "Traceback" not in answer.err
    (run,) = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
    assert run["status"] == "failed"
    assert "not a number" in run["error"]


def test_an_image_that_breaks_meanwhile_is_the_last_word(
    semiseg, workers_here, words, tmp_path
) -> None:
    assert semiseg(*words(), "--json").code == 0
    broken = np.full((24, 24, 24), np.nan, np.float32)
    save_nifti(tmp_path / "Balls" / "imagesTr" / "case_5.nii.gz", broken)
    for _ in range(2):  # of the training, and of the prediction that is tried again
        answer = semiseg(*words(seeds="0,1"))
        assert answer.code == 1
        stored = json.loads((tmp_path / "out" / "results.json").read_text())
        (error,) = [run["error"] for run in stored["runs"] if run["error"]]
        assert error.startswith("case case_5 is not predicted: ")
        assert "has changed since it was added" in error


def test_killed_and_gone_on_with(semiseg, workers_here, words, tmp_path) -> None:
    """Neither the benchmark nor its worker has time to say goodbye."""
    # Long enough that the worker is killed before the end.
    asked = [*words(steps=120), "--set=checkpoint_seconds=0", "--json"]
    command = [sys.executable, "-m", "napari_semiseg", *asked]
    run = tmp_path / "out" / "projects" / "few" / "runs" / "supervised_120steps_seed0"
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 200
    while not (run / "checkpoints" / "last.pt").exists():
        assert parent.poll() is None, parent.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.communicate()
    os.kill(int((run / "pid").read_text().split()[0]), signal.SIGKILL)
    assert json.loads((tmp_path / "out" / "results.json").read_text())["runs"] == []
    again = semiseg(*asked)
    assert again.code == 0, again.err
    (row,) = again.json["table"]
    assert row["steps"] == 120
    events = [json.loads(line) for line in (run / "events.jsonl").open()]
    starts = [event["step"] for event in events if event["type"] == "started"]
    assert starts[0] == 0
    assert starts[-1] > 0  # not from the beginning


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labelled": "none.list"}, "none.list"),
        ({"test": "none.list"}, "none.list"),
        ({"methods": "magic"}, "magic"),
        ({"methods": "supervised:magic=1"}, "no parameter 'magic'"),
        ({"methods": ","}, "--methods"),
        ({"methods": "supervised:seed=3"}, "--seeds"),
        ({"set": "steps=9"}, "--steps"),
        ({"steps": "few"}, "--steps"),
        ({"steps": "0"}, "--steps"),
        ({"seeds": "-1"}, "--seeds"),
        ({"minutes": "5"}, "found both"),
        ({"steps": None}, "found neither"),
        ({"steps": None, "minutes": "0"}, "--minutes"),
        ({"steps": None, "minutes": "long"}, "--minutes"),
        ({"steps": None, "minutes": "5,inf"}, "--minutes"),
        ({"steps": None, "minutes": "nan"}, "--minutes"),
        ({"device": "tpu"}, "device"),
        ({"label": "ball"}, "1=left atrium"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    semiseg, words, tmp_path, changes, said
) -> None:
    before = snapshot(tmp_path)
    assert said in semiseg(*words(**changes)).refusal
    assert snapshot(tmp_path) == before


def test_lists_that_do_not_fit_the_data(semiseg, words, tmp_path) -> None:
    for name, ids in (
        ("overlap", "case_3\ncase_4\n"),
        ("ghost", "ghost\n"),
        ("empty", "# nobody\n"),
    ):
        (tmp_path / f"{name}.list").write_text(ids)
    before = snapshot(tmp_path)
    overlap = tmp_path / "overlap.list"
    for changes, said in (
        ({"labelled": overlap}, "found 'case_4'"),
        ({"unlabelled": overlap}, "found 'case_4'"),
        ({"unlabelled": tmp_path / "ghost.list"}, "ghost"),
        ({"test": tmp_path / "ghost.list"}, "ghost"),
        ({"labelled": tmp_path / "empty.list"}, "found none"),
    ):
        assert said in semiseg(*words(**changes)).refusal
    assert snapshot(tmp_path) == before


def test_a_class_that_no_labelled_mask_shows(semiseg, words, tmp_path) -> None:
    before = snapshot(tmp_path)
    refusal = semiseg(*words(), "--label=1=ball", "--label=2=ring").refusal
    assert "show 'ring' (2) in list 'few', found none" in refusal
    assert "with --label '1=ball'" in refusal
    assert snapshot(tmp_path) == before


def test_folders_that_cannot_be_used(semiseg, words, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    other = tmp_path / "other"
    save_nifti(other / "scan.nii.gz", ball(0))
    before = snapshot(tmp_path)
    assert "writable" in semiseg(*words(out=tmp_path / "file" / "out")).refusal
    assert "new folder" in semiseg(*words(out=other)).refusal
    inside = tmp_path / "Balls" / "imagesTr" / "bench"
    assert "beside the images" in semiseg(*words(out=inside)).refusal
    command = words()
    command[1] = str(other)
    assert "imagesTr" in semiseg(*command).refusal
    assert snapshot(tmp_path) == before
