"""The simulated annotator with real trainings of tiny networks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from napari_semiseg.project.project import Project
from synthetic import save_nifti, snapshot

if TYPE_CHECKING:
    from pathlib import Path

TINY = (
    *("--method", "supervised", "--steps", "3", "--device", "cpu"),
    *("--set", "patch_zyx=[16,16,16]", "--set", "spacing_mm=[2,1,1]"),
    *("--set", "width=4", "--set", "precision=fp32"),
)


@pytest.fixture
def words(ball_project, spheres, tmp_path):
    """Two rounds on three cases."""
    (tmp_path / "cases.list").write_text("case_0\ncase_1\ncase_2\n")
    (tmp_path / "test.list").write_text("case_4\n")
    return (
        *("simulate", ball_project.folder, "--masks", spheres.masks, *TINY),
        *("--cases", tmp_path / "cases.list", "--test", tmp_path / "test.list"),
        *("--rounds", "2", "--slices-per-round", "3"),
    )


def without_times(path: Path) -> dict:
    found = json.loads(path.read_text())
    for trial in found["trials"]:
        for item in trial["rounds"]:
            item.pop("seconds")
    return found


@pytest.mark.engine
def test_killed_and_repeated_it_ends_like_one_that_was_left_alone(
    semiseg, workers_here, words, ball_project, tmp_path
) -> None:
    before = snapshot(ball_project.folder)
    options = ("--strategy", "mix")
    straight = semiseg(*words, *options, "--out", tmp_path / "straight", "--json")
    assert straight.code == 0, straight.err
    assert list(straight.json) == ["results", "figure", "curves", "mean", "failed"]
    (curve,) = straight.json["curves"]
    assert [item["slices"] for item in curve["rounds"]] == [3, 6]
    assert all(0 <= item["dice"] <= 1 for item in curve["rounds"])
    assert curve["rounds"][0]["voxels_changed"] > 0
    assert (tmp_path / "straight" / "figures" / "cost.png").stat().st_size > 5000
    assert snapshot(ball_project.folder) == before

    out = tmp_path / "killed"
    command = [sys.executable, "-m", "napari_semiseg", *words, *options, "--out", out]
    parent = subprocess.Popen([str(word) for word in command], start_new_session=True)
    run = out / "projects" / "mix_seed0" / "runs" / "round-01"
    deadline = time.monotonic() + 240
    while not (run / "events.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    worker = Project.open(out / "projects" / "mix_seed0").run("round-01").pid
    assert worker is not None
    for pid in (parent.pid, worker):
        os.kill(pid, signal.SIGKILL)
    parent.wait()
    again = semiseg(*words, *options, "--out", out, "--json")
    assert again.code == 0, again.err
    assert without_times(out / "simulation.json") == without_times(
        tmp_path / "straight" / "simulation.json"
    )
    # The features of the encoder are in the predictions that the mix ranked by.
    stored = next((run / "predictions").glob("case_2/prediction.json"))
    assert len(json.loads(stored.read_text())["score"]["features"]) >= 8


@pytest.mark.engine
def test_bad_input_is_one_line(semiseg, words, ball_project, spheres, tmp_path) -> None:
    before = snapshot(ball_project.folder)
    out = ("--out", tmp_path / "out")
    good = (*words, *out, "--strategy", "mix")
    assert "'best'" in semiseg(*words, *out, "--strategy", "best").refusal
    assert "slices per round" in semiseg(*good, "--slices-per-round", "0").refusal
    assert "--rounds" in semiseg(*good, "--rounds", "0").refusal
    assert "--minutes" in semiseg(*good, "--minutes", "3").refusal
    assert "--minutes" in semiseg(*good, "--minutes", "-3").refusal
    assert "nets" in semiseg(*good, "--method", "nets").refusal
    assert "--plane" in semiseg(*good, "--plane", "front").refusal
    assert "masks" in semiseg(*good, "--masks", tmp_path / "absent").refusal
    alone = (*words[:-8], "--rounds", "1", "--slices-per-round", "1", *out)
    assert "--test" in semiseg(*alone, "--strategy", "mix").refusal
    (tmp_path / "test.list").write_text("case_0\n")
    assert "case_0" in semiseg(*good).refusal
    (tmp_path / "test.list").write_text("case_4\n")
    save_nifti(spheres.masks / "case_4.nii.gz", _mask_of(spheres), shift=9)
    assert "case_4" in semiseg(*good).refusal
    (spheres.masks / "case_4.nii.gz").unlink()
    assert "case_4" in semiseg(*good).refusal
    assert not (tmp_path / "out").exists()
    assert snapshot(ball_project.folder) == before


def _mask_of(spheres):
    import nibabel as nib
    import numpy as np

    image = nib.load(spheres.masks / "case_4.nii.gz")
    return np.asarray(image.dataobj).astype(np.uint8)


@pytest.mark.engine
@pytest.mark.timeout(1800)
def test_a_cluster_gives_the_curves_of_one_trial_after_the_other(
    semiseg, workers_here, words, tmp_path
) -> None:
    words = (*words, "--strategy", "spread,gap")

    def trials(out: str, *more: str) -> dict:
        answer = semiseg(*words, "--out", tmp_path / out, *more, "--json")
        assert answer.code == 0, answer.err
        found = without_times(tmp_path / out / "simulation.json")
        return {trial["strategy"]: trial for trial in found["trials"]}

    assert trials("cluster", "--cluster", "local:2") == trials("turns")
    at = words.index("--steps")
    in_minutes = (*words[:at], "--minutes", "1", *words[at + 2 :])
    refused = semiseg(*in_minutes, "--cluster", "local:2")
    assert "expected --steps with --cluster" in refused.refusal
