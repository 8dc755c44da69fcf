"""A sample of kill.py and fuzz.py; docs/reliability.md has the counts of the whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="forks, and reads /proc"
)


def report(script: str, *words: str) -> dict:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), *words],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert said["failures"] == []
    assert done.returncode == 0
    return said


def test_a_kill_at_any_moment_loses_nothing() -> None:
    said = report("kill.py", "--tries", "18", "--kinds", "annotate", "accept", "export")
    assert said["tries"] == {"annotate": 6, "accept": 6, "export": 6}
    moments = said["moments"]
    assert (
        moments.get("label newer than reported", 0) + moments["label as reported"] > 0
    )


@pytest.mark.engine
def test_a_killed_training_goes_on_exactly() -> None:
    said = report("kill.py", "--tries", "6", "--kinds", "train", "predict")
    assert said["tries"] == {"train": 3, "predict": 3}


def test_a_damaged_file_is_read_or_refused_in_one_line() -> None:
    kinds = ("nifti", "itk", "dicom", "json", "toml")
    said = report("fuzz.py", "--inputs", "80", "--seed", "1", "--kinds", *kinds)
    assert said["counts"]["lies"]["refused"] == 9
    refused = {kind: said["counts"][kind]["refused"] for kind in kinds}
    assert all(refused.values()), refused


@pytest.mark.engine
def test_a_damaged_checkpoint_is_refused_in_one_line() -> None:
    said = report("fuzz.py", "--inputs", "12", "--seed", "1", "--kinds", "checkpoint")
    assert said["counts"]["checkpoint"]["refused"] > 0


def test_few_files_and_little_memory_are_told_in_a_line() -> None:
    verbs = ("--verbs", "status", "accept", "export nifti")
    said = report("limits.py", "--tries", "12", *verbs)
    assert {name.rpartition(" ")[2] for name in said["counts"]} == {"files", "memory"}
