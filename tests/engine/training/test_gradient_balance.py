"""How much of a step unlabelled crops decide."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.engine.training.gradient_balance import (
    EVERY,
    LARGEST_SCALE,
    GradientBalance,
)

LABELLED = {"supervised"}


def terms(weights, factor=4.0):
    """Gradients (1, 1) of the labelled term, and ``factor`` times that of the other."""
    return {"supervised": weights.sum(), "agreement": factor * weights.sum()}


def measure(balance, parts, labelled, weights, *, step, ramped):
    """Add the gradients of a step, and learn from their norms."""
    norms = balance.backward(parts, labelled, weights, step=step)
    balance.learn(*norms, ramped)


@pytest.fixture
def weights():
    return nn.Parameter(torch.zeros(2))


def test_without_a_target_the_gradient_is_that_of_the_sum(weights):
    balance = GradientBalance(None)
    measure(balance, terms(weights), LABELLED, [weights], step=0, ramped=0.5)
    assert weights.grad.tolist() == [5.0, 5.0]
    assert balance.ratio == pytest.approx(8.0)  # at the full weight of the ramp
    assert balance.scale == 1.0


def test_the_terms_are_scaled_to_the_ratio_that_was_asked_for(weights):
    balance = GradientBalance(0.5)
    measure(balance, terms(weights), LABELLED, [weights], step=3, ramped=1.0)
    assert balance.scale == pytest.approx(0.125)
    weights.grad = None
    measure(balance, terms(weights), LABELLED, [weights], step=4, ramped=1.0)
    assert weights.grad.tolist() == pytest.approx([1.5, 1.5])
    assert balance.ratio == pytest.approx(4.0)
    for step in range(EVERY, 40 * EVERY):  # the terms have grown
        weights.grad = None
        measure(balance, terms(weights, 10), LABELLED, [weights], step=step, ramped=1)
    assert balance.ratio == pytest.approx(10.0, rel=1e-3)


@pytest.mark.parametrize("factor", [0.0, float("nan"), 1e-9])
def test_a_gradient_that_is_nothing_or_no_number_scales_nothing_away(weights, factor):
    balance = GradientBalance(1.0)
    measure(balance, terms(weights, factor), LABELLED, [weights], step=0, ramped=1.0)
    assert 1.0 <= balance.scale <= LARGEST_SCALE


def test_labels_alone_have_no_ratio(weights):
    balance = GradientBalance(1.0)
    only = {"supervised": weights.sum()}
    measure(balance, only, LABELLED, [weights], step=0, ramped=1.0)
    assert balance.ratio is None
    assert weights.grad.tolist() == [1.0, 1.0]


def test_a_stopped_training_goes_on_with_the_same_scale(ball_project):
    config = TrainingConfig.build(
        method="mean_teacher",
        steps=14,
        width=4,
        patch_zyx=(16, 16, 16),
        precision="fp32",
        gradient_ratio=0.3,
        checkpoint_seconds=0.0,
    )

    def weights(run):
        return Checkpoint.load(run.folder.last).students["student"].values()

    list(engine.train(ball_project, config))
    whole = ball_project.latest_run()
    for event in engine.train(ball_project, config):
        if event.type == "checkpointed" and event.step == 11:
            run = ball_project.latest_run()
            run.request_stop()
    assert run.steps_done == 11
    list(engine.resume(ball_project, run))
    assert run.gradient_ratio == whole.gradient_ratio is not None
    assert all(
        torch.equal(a, b) for a, b in zip(weights(run), weights(whole), strict=True)
    )
    list(engine.train(ball_project, config.model_copy(update={"gradient_ratio": None})))
    published = ball_project.latest_run()
    assert not all(
        torch.equal(a, b)
        for a, b in zip(weights(published), weights(whole), strict=True)
    )
