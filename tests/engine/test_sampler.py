from __future__ import annotations

import numpy as np
import torch

from engine.volumes import prepared
from napari_semiseg.engine import prepare
from napari_semiseg.engine.augment import Crops, augment
from napari_semiseg.engine.sampler import Sampler, Streams

CPU = torch.device("cpu")


def make(plan, seed=0, known=None, count=3):
    labelled = [prepared(i, known=known) for i in range(count)]
    return Sampler(Streams(tuple(labelled), (prepared(9, labelled=False),)), plan, seed)


def test_batch_is_a_function_of_seed_and_step(plan):
    def draw(seed, step):
        torch.manual_seed(1)
        return make(plan, seed).batch(step, CPU)

    first, again = draw(0, 4), draw(0, 4)
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.target, again.target)
    assert not torch.equal(first.image, draw(0, 5).image)
    assert not torch.equal(first.image, draw(1, 4).image)


def test_shapes_and_ranges(plan):
    batch = make(plan).batch(0, CPU)
    assert batch.labelled == 2
    assert batch.image.shape == (4, 1, 16, 16, 16)
    assert batch.low.shape == batch.high.shape == (2, 3, 16, 16, 16)
    assert batch.target.max() <= 2
    assert batch.low.abs().max() <= 1


def test_every_case_is_seen_before_any_twice(plan):
    sampler = make(plan, count=4)
    for epoch in range(3):
        seen = [
            case
            for step in (2 * epoch, 2 * epoch + 1)
            for case in sampler.picked(0, step)
        ]
        assert sorted(case.id for case in seen) == [f"case{i}" for i in range(4)]


def test_crops_of_sparse_labels_meet_them(plan):
    sampler = make(plan, known=slice(11, 12))
    hits = [sampler.batch(step, CPU).valid.any().item() for step in range(10)]
    assert all(hits)


def test_volume_smaller_than_the_patch_is_padded_and_not_valid(plan):
    wide = plan.model_copy(update={"patch_zyx": (32, 32, 32)})
    batch = make(wide).batch(0, CPU)
    assert not batch.inside.all()
    assert not (batch.valid & ~batch.inside[:2, 0]).any()
    assert (batch.image[~batch.inside] == 0).all()


def test_label_and_distance_move_together(plan):
    """After any rotation, scale and mirror the distance still tells the class."""
    wide = plan.model_copy(update={"patch_zyx": (24, 24, 24)})
    sampler = make(wide)
    agree = []
    for step in range(8):
        batch = sampler.batch(step, CPU)
        said = batch.low.argmin(dim=1)
        agree.append((said == batch.target)[batch.valid].float().mean().item())
    assert np.mean(agree) > 0.98


def test_image_and_label_move_together(plan):
    sampler = make(plan.model_copy(update={"patch_zyx": (24, 24, 24)}))
    batch = sampler.batch(3, CPU)
    image = batch.image[:2, 0]
    background = image[batch.valid & (batch.target == 0)].mean()
    assert image[batch.valid & (batch.target == 1)].mean() > background + 0.5


def test_distance_scales_with_the_object():
    """A view that shows a larger part of space makes objects and distances small."""
    size = 16
    ramp = torch.linspace(-0.5, 0.5, size).view(1, 1, 1, 1, size)
    maps = ramp.expand(1, 2, size, size, size).contiguous()
    crops = Crops(
        image=torch.ones(1, 2, size, size, size),
        target=torch.ones(1, 1, size, size, size),
        bounds=maps,
        classes=2,
    )
    slopes = []
    for seed in range(20):
        batch = augment(crops, np.random.default_rng(seed), (8, 8, 8), (1, 1, 1))
        low = batch.low[0, 0]
        steps = [low.diff(dim=axis).mean() for axis in range(3)]
        slopes.append(float(torch.stack(steps).norm()))
    assert np.allclose(slopes, 1.0 / (size - 1), rtol=0.03)


def test_what_is_remembered_of_a_case_does_not_grow_with_its_voxels(monkeypatch):
    """A view of all voxels of a class would fill the memory case by case."""
    monkeypatch.setattr(prepare, "CENTRES", 50)
    case = prepared(0)
    counts = [np.count_nonzero(case.target == index) for index in range(3)]
    for group, count in zip(case.centres, counts, strict=True):
        assert group.base is None
        assert group.size <= 100 < count
    assert {int(case.target.ravel()[at]) for at in case.centres[2]} == {2}
