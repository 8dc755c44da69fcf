"""Recipes of docs/scaling.md for other people's clusters."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from kubernetes_validate import validate

from execution.conftest import until
from napari_semiseg.project.runs.workers import BATCH

STOPPED = 130
PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def recipe(title: str) -> str:
    """The first indented block under a title."""
    _, _, below = PAGE.read_text(encoding="utf-8").partition(f"### {title}\n")
    lines = re.search(r"\n\n((?: {4}.*\n|\n)+)", f"\n{below}")[1].splitlines()
    return "\n".join(line[4:] for line in lines) + "\n"


def test_the_job_of_kubernetes_is_one():
    job = yaml.safe_load(recipe("Kubernetes"))
    validate(job, "1.31", strict=True)
    assert job["spec"]["completionMode"] == "Indexed"
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"  # a stop is no failure to be repeated
    assert rule["onExitCodes"]["values"] == [STOPPED]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    (batch,) = container["env"]
    assert batch["name"] in BATCH
    uid = batch["valueFrom"]["fieldRef"]["fieldPath"]
    assert uid == "metadata.labels['batch.kubernetes.io/controller-uid']"
    shards = job["spec"]["completions"]
    words = [*container["command"], *container["args"]]
    for index in range(shards):
        bare = words[2].replace("semiseg", "echo", 1)
        told = subprocess.run(
            [*words[:2], bare],
            env={"JOB_COMPLETION_INDEX": str(index)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert told.split()[-2:] == ["--shard", f"{index + 1}/{shards}"]


@pytest.mark.usefixtures("slurm")
def test_the_array_of_slurm_predicts_each_part_once(tmp_path, monkeypatch):
    told = tmp_path / "told"
    told.mkdir()
    program = tmp_path / "semiseg"
    program.write_text(f'#!/bin/sh\necho "$@" >> {told}/$SLURM_ARRAY_TASK_ID\n')
    program.chmod(0o755)
    script = recipe("SLURM")
    assert " --gres=gpu:1 --cpus-per-task=4" in script  # there is no GPU here
    script = script.replace(" --gres=gpu:1 --cpus-per-task=4", "")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PROJECT", "/scans/my project")
    monkeypatch.setenv("RUN", "model")
    subprocess.run(
        ["sbatch", "--output=none"], input=script, text=True, check=True, cwd=tmp_path
    )
    until(lambda: len(list(told.iterdir())) == 8)
    for number in range(1, 9):
        line = f"predict /scans/my project --run model --shard {number}/8\n"
        until(lambda number=number, line=line: (told / str(number)).read_text() == line)
