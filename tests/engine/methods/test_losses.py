from __future__ import annotations

import math

import pytest
import torch

from napari_semiseg.engine.methods import losses, perturbations
from napari_semiseg.engine.networks.blocks import SegmentationNetwork


def example(seed=0, classes=3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 4, 5, 6, generator=generator)
    target = torch.randint(0, classes, (2, 4, 5, 6), generator=generator)
    return logits, target


def test_perfect_prediction_costs_nothing():
    _, target = example()
    logits = 50.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    valid = torch.ones_like(target, dtype=torch.bool)
    assert losses.cross_entropy_dice(logits, target, valid) < 1e-4


def test_invalid_voxels_have_no_influence():
    logits, target = example()
    valid = torch.zeros_like(target, dtype=torch.bool)
    valid[:, 1:3] = True
    first = losses.cross_entropy_dice(logits, target, valid)
    noisy = torch.where(valid.unsqueeze(1), logits, torch.randn_like(logits) * 9)
    second = losses.cross_entropy_dice(
        noisy, (target + 1) % 3 * ~valid + target * valid, valid
    )
    assert torch.allclose(first, second)


def test_cross_entropy_is_the_usual_one():
    logits, target = example()
    valid = torch.ones_like(target, dtype=torch.bool)
    dice = losses.soft_dice(torch.softmax(logits, 1), target, valid)
    usual = torch.nn.functional.cross_entropy(logits, target)
    assert torch.allclose(
        losses.cross_entropy_dice(logits, target, valid), 0.5 * (usual + dice)
    )


def test_absent_class_has_no_dice_term():
    logits, target = example()
    target = target.clamp(max=1)
    p = torch.softmax(logits, 1)
    valid = torch.ones_like(target, dtype=torch.bool)
    y = (target == 1).float()
    expected = 1 - (2 * (p[:, 1] * y).sum()) / (p[:, 1].sum() + y.sum())
    assert torch.allclose(losses.soft_dice(p, target, valid), expected, atol=1e-5)


def test_nothing_valid_is_zero_with_a_gradient_of_zero():
    logits, target = example()
    logits.requires_grad_()
    valid = torch.zeros_like(target, dtype=torch.bool)
    loss = losses.cross_entropy_dice(logits, target, valid)
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(logits.grad).all()


def test_interval_is_free_inside_and_costs_outside():
    distance = torch.tensor([-0.5, 0.0, 0.5]).view(1, 1, 1, 1, 3)
    low, high = torch.full_like(distance, -0.2), torch.full_like(distance, 0.2)
    valid = torch.ones(1, 1, 1, 3, dtype=torch.bool)
    inside = losses.distance_interval(
        distance[..., 1:2], low[..., 1:2], high[..., 1:2], valid[..., 1:2]
    )
    assert inside == 0
    assert losses.distance_interval(distance, low, high, valid) > 0.1


def test_consistency_detaches_its_target():
    a = torch.rand(1, 2, 2, 2, 2, requires_grad=True)
    b = torch.rand(1, 2, 2, 2, 2, requires_grad=True)
    losses.consistency(a, b, torch.ones(1, 1, 2, 2, 2)).backward()
    assert a.grad.abs().sum() > 0
    assert b.grad is None


def test_ramp_ends():
    assert perturbations.gaussian_ramp(0.0) == pytest.approx(math.exp(-5))
    assert perturbations.gaussian_ramp(1.0) == 1.0
    assert perturbations.gaussian_ramp(7.0) == 1.0


def test_entropy_and_gap_are_normalised():
    certain = torch.eye(3).view(1, 3, 3, 1, 1)[..., :1, :, :]
    assert perturbations.entropy(certain).max() == pytest.approx(0, abs=1e-5)
    even = torch.full((1, 3, 2, 2, 2), 1 / 3)
    assert torch.allclose(perturbations.entropy(even), torch.ones(1, 1, 2, 2, 2))
    a = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1, 1)
    assert perturbations.gap(a, a.flip(1)).item() == 1.0
    assert perturbations.gap(a, a).item() == 0.0


def test_average_warms_up_then_follows_slowly():
    student, teacher = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    perturbations.update_average(teacher, student, 0, 0.99)
    assert torch.equal(teacher.weight, student.weight)
    old = teacher.weight.clone()
    with torch.no_grad():
        student.weight.add_(1.0)
    perturbations.update_average(teacher, student, 10_000, 0.99)
    assert torch.allclose(teacher.weight, old + 0.01)


def test_early_in_a_training_the_average_forgets_its_beginning():
    """It remembers a tenth of the steps: of 100, what came after the 60th."""
    student, teacher = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    for step in range(100):
        with torch.no_grad():
            student.weight.fill_(float(step >= 60))
        perturbations.update_average(teacher, student, step, 0.99)
    assert float(teacher.weight.min()) > 0.97


class Dropping(SegmentationNetwork):
    """A network that is one layer of dropout."""

    def __init__(self):
        super().__init__()
        self.dropout = torch.nn.Dropout3d(0.5)

    def forward(self, image):
        return self.dropout(image)


def test_monte_carlo_uses_dropout_and_restores_the_mode():
    net = Dropping().eval()
    x = torch.ones(1, 1000, 1, 1, 1)
    mean = perturbations.monte_carlo(net, 4, lambda: net(x))
    assert not net.training
    assert set(mean.unique().tolist()) <= {0.0, 0.5, 1.0, 1.5, 2.0}
    assert mean.std() > 0.2


def test_views_share_all_information_where_they_agree_and_none_by_chance():
    _, target = example()
    maps = losses.one_hot(target, 3)
    where = torch.ones(2, 1, 4, 5, 6)
    share = maps.mean(dim=(0, 2, 3, 4))
    entropy = float(-(share * share.log()).sum())
    same = float(losses.mutual_information(maps, maps, where))
    assert same == pytest.approx(entropy, rel=1e-3)
    other = maps.flatten(2)[:, :, torch.randperm(120)].view_as(maps)
    assert losses.mutual_information(maps, other, where) < 0.1 * same
    assert losses.mutual_information(maps, other, 0 * where).isfinite()


def test_soft_labels_that_are_hard_give_the_usual_cross_entropy():
    logits, target = example()
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[:, 2:] = False
    soft = losses.soft_cross_entropy(
        logits, losses.one_hot(target, 3), valid.unsqueeze(1)
    )
    assert float(soft) == pytest.approx(
        float(losses.cross_entropy(logits, target, valid)), rel=1e-5
    )
