"""Images and classes that changed since they were added teach and predict nothing."""

from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Predicted, Warned
from napari_semiseg.engine import api
from napari_semiseg.errors import ImageError, SemisegError
from synthetic import ball, save_nifti

CONFIG = TrainingConfig(
    method="supervised",
    steps=2,
    device="cpu",
    width=4,
    patch_zyx=(16, 16, 16),
    precision="fp32",
)


def change(spheres, *names) -> None:
    for name in names:
        path = spheres.images / f"{name}.nii.gz"
        save_nifti(path, (100 * ball(3)).astype(np.int16))


def warnings(events) -> list[str]:
    return [event.message for event in events if isinstance(event, Warned)]


def test_training_leaves_a_changed_image_out_even_where_it_is_prepared(
    ball_project, spheres
) -> None:
    assert warnings(api.train(ball_project, CONFIG)) == []
    change(spheres, "case_0")
    [warning] = warnings(api.train(ball_project, CONFIG))
    assert "case case_0 is left out" in warning
    assert "has changed since it was added" in warning


def test_training_on_nothing_but_changed_images_is_refused(
    ball_project, spheres
) -> None:
    change(spheres, "case_0", "case_1")
    with pytest.raises(ImageError, match="has changed since it was added"):
        list(api.train(ball_project, CONFIG))


def test_a_label_of_a_class_that_is_gone_is_left_out_of_training(
    ball_project, spheres
) -> None:
    other = save_nifti(spheres.masks / "gone.nii.gz", 1 + ball(1))
    (ball_project.layout.case("case_1").label).write_bytes(other.read_bytes())
    [warning] = warnings(api.train(ball_project, CONFIG))
    assert "case case_1 is left out" in warning
    assert "label value(s) [2]" in warning


def test_a_changed_image_is_not_predicted(ball_project, spheres) -> None:
    list(api.train(ball_project, CONFIG))
    run = ball_project.latest_run()
    change(spheres, "case_3")
    cases = [ball_project.case(name) for name in ("case_2", "case_3")]
    events = list(api.predict_cases(ball_project, run, cases))
    assert [one.case for one in events if isinstance(one, Predicted)] == ["case_2"]
    [warning] = warnings(events)
    assert "case case_3 is not predicted" in warning
    with pytest.raises(SemisegError, match="has changed"):
        api.predict(ball_project, run, cases[1])
