"""What a trial does in a process of its own, here in this one."""

from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Planned
from napari_semiseg.errors import ProjectError
from napari_semiseg.experiments.worker import read_facts, train_and_predict
from napari_semiseg.project.runs.run import Run
from synthetic import save_nifti

pytestmark = pytest.mark.engine


@pytest.fixture
def make_run(ball_project):
    """Runs of a few steps of a tiny network, in one project."""
    config = TrainingConfig(
        method="supervised",
        steps=3,
        width=4,
        patch_zyx=(16, 16, 16),
        labelled_batch=1,
        precision="fp32",
        device="cpu",
    )
    return lambda name, **budget: Run.create(
        ball_project, config.model_copy(update=budget), name
    )


def test_every_training_of_minutes_prepares_for_itself(ball_project, make_run) -> None:
    """So that all of them pay for it; those of steps share what is prepared."""
    minutes = {"steps": None, "minutes": 0.01}
    cache = ball_project.folder / "cache"

    def made() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}

    list(train_and_predict(ball_project, make_run("first", **minutes), ()))
    before = made()
    (cache / "case_9.image.npy").touch()  # of a training that had other plans
    list(train_and_predict(ball_project, make_run("second", **minutes), ()))
    after = made()
    assert after.keys() == before.keys()
    assert all(after[name] > before[name] for name in before)
    (cache / "case_9.image.npy").touch()
    list(train_and_predict(ball_project, make_run("third"), ()))
    assert made().items() >= after.items()
    assert "case_9.image.npy" in made()


def test_a_training_that_goes_on_has_prepared(ball_project, make_run) -> None:
    cache, run = ball_project.folder / "cache", make_run("first")
    for event in train_and_predict(ball_project, run, ()):
        if isinstance(event, Planned):
            run.request_stop()
    assert read_facts(run).steps == 0
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert before
    list(train_and_predict(ball_project, run, ()))
    assert read_facts(run).steps == 3
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before


def test_an_image_that_cannot_be_predicted_is_the_last_word(
    ball_project, make_run
) -> None:
    run = make_run("first")
    case = ball_project.case("case_4")
    save_nifti(case.image, np.full((24, 24, 24), np.nan, np.float32))
    for _ in range(2):  # also where the training is done already
        with pytest.raises(
            ProjectError, match=r"case_4 is not predicted: .* has changed"
        ):
            list(train_and_predict(ball_project, run, ("case_3", "case_4")))
        assert run.predicted() == ("case_3",)
