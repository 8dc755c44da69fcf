"""Steps of orthogonal matrices, and plans from before there were any."""

from __future__ import annotations

import sys
from copy import deepcopy
from inspect import unwrap

import pytest
import torch
from torch import nn

from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.plan import Plan
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.engine.training.optimisers import (
    SGD,
    TURNED_ANEW,
    Adam,
    Muon,
    optimisers,
    set_rate,
    turn_to_orthogonal,
)


@pytest.mark.parametrize("shape", [(16, 27), (16, 16), (64, 1728), (8, 8)])
def test_a_matrix_is_turned_to_an_orthogonal_one(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) @ torch.diag(torch.logspace(-0.5, 0.5, shape[1]))
    values = torch.linalg.svdvals(turn_to_orthogonal(matrix) @ matrix)
    before = torch.linalg.svdvals(matrix)
    wide = [
        (one / one.mean()).quantile(torch.tensor([0.1, 0.9]))
        for one in (values, before)
    ]
    assert wide[0][0] > 0.6
    assert wide[0][1] < 1.4


@pytest.mark.parametrize(
    "shape", [(8, 4, 3, 3, 3), (4, 8, 2, 2, 2), (64, 1, 1, 3, 3), (12, 5)]
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_step_is_as_long_as_an_orthogonal_matrix(shape, channels_last):
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(shape))
    if channels_last and len(shape) == 5:
        weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
    mover = Muon([weight], lr=0.5)
    rank = min(shape[0], weight[0].numel())
    for _ in range(TURNED_ANEW + 1):
        before = weight.detach().clone()
        weight.grad = torch.randn(shape) * 1e3
        mover.step()
        moved = weight.detach() - before
        assert float(moved.norm()) == pytest.approx(0.5 * rank**0.5, rel=1e-4)
    assert (moved * weight.grad).sum() < 0  # against the gradient


def test_half_precision_turns_about_as_well(plan):
    torch.manual_seed(0)
    start, gradient = torch.randn(2, 32, 16, 3, 3, 3)
    moved = []
    for precision in ("fp32", "bf16"):
        weight = nn.Parameter(start.clone())
        asked = plan.model_copy(update={"precision": precision})
        made = optimisers(asked, [weight])["matrices"]
        weight.grad = gradient.clone()
        made.step()
        moved.append(weight.detach() - start)
    error = (moved[0] - moved[1]).norm() / moved[0].norm()
    assert 0 < error < 0.02


def test_a_kernel_is_moved_alike_however_it_lies_in_memory():
    torch.manual_seed(0)
    start, gradient = torch.randn(2, 6, 4, 3, 3, 3)
    found = []
    for memory in (torch.contiguous_format, torch.channels_last_3d):
        weight = nn.Parameter(start.clone().contiguous(memory_format=memory))
        weight.grad = gradient.clone()
        Muon([weight], lr=0.1).step()
        found.append(weight.detach())
    assert torch.allclose(*found, atol=1e-5)


def test_a_layer_without_gradient_or_with_none_at_all_stays():
    weights = [nn.Parameter(torch.ones(3, 4)) for _ in range(2)]
    weights[1].grad = torch.zeros(3, 4)
    Muon(weights, lr=0.1).step()
    assert all(torch.equal(weight, torch.ones(3, 4)) for weight in weights)


def test_it_finds_what_fits_also_where_directions_differ_in_steepness(plan):
    torch.manual_seed(0)
    steep = torch.diag(torch.logspace(-2, 0, 16))
    truth, weight = torch.randn(8, 16), nn.Parameter(torch.zeros(8, 16))
    mover, errors = optimisers(plan, [weight]), []
    for step in range(100):
        set_rate(mover, 0.2 * (1 - step / 100))
        weight.grad = None
        error = (((weight - truth) @ steep) ** 2).sum()
        error.backward()
        mover["matrices"].step()
        errors.append(error.item())
    assert errors[-1] < 0.01 * errors[0]


def test_vectors_are_moved_by_plain_momentum_at_twice_the_rate(plan):
    layer = nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4))
    made = optimisers(plan, list(layer.parameters()))
    set_rate(made, 0.01)
    kinds = {name: one.param_groups[0] for name, one in made.items()}
    assert [weight.ndim for weight in kinds["matrices"]["params"]] == [5]
    assert [weight.ndim for weight in kinds["vectors"]["params"]] == [1, 1, 1]
    assert kinds["matrices"]["lr"] == 0.01
    assert kinds["vectors"]["lr"] == 0.02
    sgd = plan.model_copy(update={"optimiser": "sgd"})
    assert list(optimisers(sgd, list(layer.parameters()))) == ["students"]


def test_the_state_of_a_step_between_two_looks_is_kept():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(6, 4, 3, 3, 3))
    first = Muon([weight], lr=0.1)
    gradients = torch.randn(5, 6, 4, 3, 3, 3)
    for gradient in gradients[:2]:
        weight.grad = gradient.clone()
        first.step()
    copy = nn.Parameter(weight.detach().clone())
    second = Muon([copy], lr=0.1)
    second.load_state_dict(deepcopy(first.state_dict()))
    for gradient in gradients[2:]:
        for one, mover in ((weight, first), (copy, second)):
            one.grad = gradient.clone()
            mover.step()
    assert torch.equal(weight, copy)


def test_a_run_keeps_the_optimiser_that_its_plan_names(ball_project):
    def train(**values):
        config = TrainingConfig(
            method="supervised", width=4, patch_zyx=(16, 16, 16), steps=2, **values
        )
        list(engine.train(ball_project, config))
        return ball_project.latest_run()

    usual, plain = train(), train(optimiser="sgd")
    assert usual.plan.optimiser == "muon"
    assert plain.plan.learning_rate == 2 * usual.plan.learning_rate
    assert set(Checkpoint.load(usual.folder.last).optimisers) == {"matrices", "vectors"}
    # As plans were before there was a choice.
    older = plain.plan.model_dump_json(exclude={"optimiser"})
    plain.folder.plan.write_text(older)
    assert Plan.model_validate_json(older) == plain.plan
    list(engine.resume(ball_project, plain, steps=4))
    state = Checkpoint.load(plain.folder.last)
    assert state.step == 4
    assert set(state.optimisers) == {"students"}


def test_no_optimiser_loads_the_compiler_of_pytorch(monkeypatch):
    """It takes as long as loading PyTorch itself, in each process that trains."""
    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        kept = unwrap(getattr(torch.optim.Optimizer, name))
        monkeypatch.delattr(kept, "__dynamo_disable", raising=False)
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # not to be imported
    for kind in (SGD, Adam, Muon):
        weight = nn.Parameter(torch.randn(3, 3))
        mover = kind([weight], lr=0.1)
        weight.grad = torch.randn(3, 3)
        mover.step()
        mover.load_state_dict(mover.state_dict())
        mover.zero_grad(set_to_none=True)
        assert weight.grad is None
    with pytest.raises(ImportError):
        torch.optim.SGD([weight], lr=0.1)


@pytest.mark.parametrize(
    ("ours", "theirs", "how"),
    [
        (SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (Adam, torch.optim.Adam, {"betas": (0.9, 0.99)}),
    ],
)
def test_what_comes_from_pytorch_moves_weights_as_there(ours, theirs, how):
    torch.manual_seed(0)
    start, gradients = torch.randn(5), torch.randn(4, 5)
    moved = []
    for kind in (ours, theirs):
        weight = nn.Parameter(start.clone())
        mover = kind([weight], lr=0.1, weight_decay=0.01, **how)
        for gradient in gradients:
            weight.grad = gradient.clone()
            mover.step()
        moved.append(weight.detach())
    assert torch.equal(*moved)
