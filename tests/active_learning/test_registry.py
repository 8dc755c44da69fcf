"""Strategies by name: this package's, and those of other packages."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from napari_semiseg.active_learning.registry import DEFAULT, register, strategies
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ConfigError
from napari_semiseg.project.runs.run import Run

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "adding-a-strategy.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.S)
    return found


def test_the_default_comes_first_and_what_needs_no_model_last() -> None:
    known = strategies()
    assert next(iter(known)) == DEFAULT
    of_labels = [strategy.of_labels for strategy in known.values()]
    assert of_labels == sorted(of_labels)
    needs = [one.needs_predictions for one in known.values() if not one.of_labels]
    assert needs == sorted(needs, reverse=True)
    assert {"random", "spread"} == {
        name
        for name, one in known.items()
        if not one.needs_predictions and not one.of_labels
    }


def test_a_name_belongs_to_one_strategy() -> None:
    with pytest.raises(ConfigError, match="one strategy called 'mix', found two"):

        @register("mix", "Mine", "Another one.")
        def mine(pool: object) -> list:
            return []

    assert strategies()["mix"].rank.__module__.startswith("napari_semiseg.")


def test_the_guide_lists_all_strategies() -> None:
    rows = [f"| {s.title} | `{s.name}` | {s.hint} |" for s in strategies().values()]
    table = "\n".join(["| in the panel | name | puts first |", "|---|---|---|", *rows])
    guide = (DOCS / "reviewing.md").read_text(encoding="utf-8")
    marked = f"<!-- strategies:begin -->\n{table}\n<!-- strategies:end -->"
    assert marked in guide, table


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of packages: what the page describes, and a broken entry point."""
    site = tmp_path / "site"
    info = site / "largest_first-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "largest_first.py").write_text(block("python"), encoding="utf-8")
    (info / "METADATA").write_text("Name: largest-first\nVersion: 1.0\n")
    groups = tomllib.loads(block("toml"))["project"]["entry-points"]
    lines = [
        line
        for group, names in groups.items()
        for line in (f"[{group}]", *(f"{key}={value}" for key, value in names.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\nbroken=absent\n")
    return site


def test_a_strategy_of_another_package_can_be_asked(
    installed, ball_project, predict_ball
) -> None:
    run = Run.create(ball_project, TrainingConfig())
    for name in ("case_2", "case_3", "case_4"):
        case = ball_project.case(name)
        run.write_prediction(predict_ball(run, case), case.image)
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])

    def semiseg(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "napari_semiseg", *words],
            env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )

    command = ("suggest", str(ball_project.folder), "--strategy", "largest", "--json")
    answer = semiseg(*command)
    assert answer.returncode == 0, answer.stderr
    assert "strategies is left out: No module named 'absent'" in answer.stderr
    found = json.loads(answer.stdout)
    scores = [volume["score"] for volume in found["volumes"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1.0
    assert "mL predicted" in found["volumes"][0]["reason"]
    assert {item["index"] for item in found["slices"][:3]} <= {11, 12}
    assert "largest" in semiseg("suggest", "--help").stdout
