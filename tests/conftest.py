"""Marks by folder, and a tiny synthetic cohort that all tests may use."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from synthetic import Spheres, ball, prediction_of, save_nifti

if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_workers import FakeWorkers
    from napari_semiseg.core.prediction import Prediction
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

_HERE = Path(__file__).parent
N_CASES = 5

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # Several workers with a thread for each core would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if find_spec("torch") and hasattr(os, "sched_setaffinity"):
        # A plan has as many threads as its process has cores.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker[2:]) % len(cores)]})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--renew-contract",
        action="store_true",
        help="write down anew what tests/contract compares with; not with -n",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(_HERE).parts[0]
        if folder == "widgets":
            item.add_marker(pytest.mark.gui)
        if folder == "engine":
            item.add_marker(pytest.mark.engine)


@pytest.fixture
def spheres(tmp_path: Path) -> Spheres:
    """Five noisy images of 24^3 voxels with a bright ball, and masks of the balls."""
    images, masks = tmp_path / "cohort" / "images", tmp_path / "cohort" / "masks"
    ids = tuple(f"case_{number}" for number in range(N_CASES))
    for number, name in enumerate(ids):
        mask = ball(number)
        noise = np.random.default_rng(number).normal(0, 10, mask.shape)
        save_nifti(images / f"{name}.nii.gz", (100 * mask + noise).astype(np.int16))
        save_nifti(masks / f"{name}.nii.gz", mask)
    return Spheres(images, masks, ids)


@pytest.fixture
def empty_project(tmp_path: Path) -> Project:
    """A project with one class and no case."""
    from napari_semiseg.project.project import Project

    return Project.create(tmp_path / "atrium", {"left atrium": 1})


@pytest.fixture
def ball_project(empty_project: Project, spheres: Spheres) -> Project:
    """Five cases; the first two are labelled."""
    empty_project.add(spheres.images)
    for name in spheres.ids[:2]:
        empty_project.set_label(name, spheres.masks / f"{name}.nii.gz")
    return empty_project


@pytest.fixture
def predict_ball() -> Callable[..., Prediction]:
    """Make up a prediction of a case: a ball, doubtful in the slices asked for."""
    from napari_semiseg.core.prediction import ClassScore, SliceScore

    def make(
        run: Run,
        case: Case,
        *,
        uncertainty: float = 0.3,
        gap: float = 0.1,
        slices: tuple[tuple[int, int, float], ...] = ((0, 11, 0.4), (0, 12, 0.3)),
        empty: bool = False,
        features: tuple[float, ...] = (),
        classes: dict[str, float] | None = None,
    ) -> Prediction:
        labels = case.geometry.to_canonical(ball(int(case.id[-1]))).copy()
        labels *= not empty
        places = tuple(
            SliceScore(axis=a, index=i, score=s, reason="boundary uncertain")
            for a, i, s in slices
        )
        return prediction_of(
            run,
            case,
            labels,
            sdm_mm=np.where(labels > 0, -2.5, 7.25),
            doubt=uncertainty,
            step=7,
            uncertainty=uncertainty,
            entropy=uncertainty / 2,
            gap=gap,
            volumes_ml={"left atrium": float(labels.sum()) / 500},
            slices=places,
            classes={
                name: ClassScore(entropy=value, slices=places)
                for name, value in (classes or {}).items()
            },
            features=features,
        )

    return make


@pytest.fixture
def workers(predict_ball: Callable[..., Prediction]) -> FakeWorkers:
    """An executor of benchmarks and simulations that needs no PyTorch."""
    from fake_workers import FakeWorkers

    return FakeWorkers(predict_ball)
