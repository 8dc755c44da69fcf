"""Projects whose labels change while they are trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_semiseg.project.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from synthetic import Spheres


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread: several that share a core with other programs are slower."""
    monkeypatch.setattr("napari_semiseg.engine.planning.plan.cores", lambda: 1)


@pytest.fixture
def make(tmp_path: Path, spheres: Spheres) -> Callable[[str], Project]:
    """A project of the cohort, by name; the first two cases are labelled."""

    def one(name: str) -> Project:
        project = Project.create(tmp_path / name, {"ball": 1})
        project.add(spheres.images)
        for case in spheres.ids[:2]:
            project.set_label(case, spheres.masks / f"{case}.nii.gz")
        return project

    return one
