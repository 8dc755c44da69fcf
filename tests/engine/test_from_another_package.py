"""The pages' own method and architecture, installed as a package of somebody else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from napari_semiseg.core.events import Stepped
from outside_package import install, semiseg

if TYPE_CHECKING:
    from napari_semiseg.project.project import Project

DOCS = Path(__file__).parents[2] / "docs"
TINY = (
    *("--steps", "3", "--device", "cpu", "--set", "precision=fp32", "--set", "width=4"),
    *("--set", "patch_zyx=[16,16,16]", "--set", "labelled_batch=1"),
)


def installed(page: str, site: Path, name: str) -> dict[str, str]:
    """Install the code of a page under the entry point that the page names."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    ((group, called),) = re.findall(r'entry-points\."(.+)"\]\n(\w+) =', text)
    assert called == name
    return install(site, group, code, name)


def losses(project: Project) -> dict[str, float]:
    """Losses of the last step of the only run, which is complete and has predicted."""
    (run,) = project.runs()
    assert run.status == "completed"
    assert run.has_prediction("case_4")
    steps = [event for event in run.events() if isinstance(event, Stepped)]
    return dict(steps[-1].losses)


def test_the_method_of_the_guide_is_listed_and_trains(
    ball_project: Project, tmp_path: Path
) -> None:
    env = installed("adding-a-method.md", tmp_path / "site", "pi_model")
    assert "Pi-model" in semiseg(env, "methods")
    soon = ("--set", "ramp=0.1")  # weighs something within three steps
    method = ("--method", "pi_model", "--set", "unlabelled_batch=1", *soon)
    semiseg(env, "train", ball_project.folder, *method, *TINY)
    assert losses(ball_project)["agreement"] > 0


def test_the_architecture_of_the_guide_trains(
    ball_project: Project, tmp_path: Path
) -> None:
    env = installed("adding-an-architecture.md", tmp_path / "site", "plain")
    words = ("--method", "supervised", "--set", "architecture=plain")
    semiseg(env, "train", ball_project.folder, *words, *TINY)
    assert losses(ball_project)["supervised"] > 0
    (run,) = ball_project.runs()
    assert run.plan is not None
    assert run.plan.architecture == "plain"
