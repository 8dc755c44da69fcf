from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from engine.volumes import prepared
from napari_semiseg.engine.data import augment as augmentation
from napari_semiseg.engine.data import cache
from napari_semiseg.engine.data.augment import Crops, augment
from napari_semiseg.engine.data.sampler import Sampler, Streams

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
        distance_intervals=maps,
        classes=2,
    )
    slopes = []
    for seed in range(20):
        batch = augment(crops, [np.random.default_rng(seed)], (8, 8, 8), (1, 1, 1))
        low = batch.low[0, 0]
        steps = [low.diff(dim=axis).mean() for axis in range(3)]
        slopes.append(float(torch.stack(steps).norm()))
    assert np.allclose(slopes, 1.0 / (size - 1), rtol=0.03)


def views(seeds, maps, image, *, size=16, patch=(16, 16, 16), hole=0, **asked):
    """Random views of crops whose last ``hole`` planes along x are padding."""
    there = torch.ones(1, 1, size, size, size)
    there[..., size - hole :] = 0
    channels = [image.expand_as(there), there]
    crops = Crops(
        image=torch.cat(channels, dim=1) * there,
        target=there,
        distance_intervals=maps.expand(1, 2, size, size, size) * there,
        classes=2,
    )
    for seed in seeds:
        torch.manual_seed(seed)
        yield augment(crops, [np.random.default_rng(seed)], patch, (1, 1, 1), **asked)


def test_padding_does_not_pull_at_what_lies_beside_it():
    """Background far from everything stays far up to the rim of the scan."""
    half = torch.full((1, 1, 1, 1, 1), 0.5)
    for batch in views(range(8), half, half, hole=5):
        assert not batch.inside.all()
        inside = batch.inside.expand_as(batch.low)
        value = batch.low[inside].median()
        assert torch.allclose(batch.low[inside], value, atol=1e-4)
        assert torch.equal(batch.low, batch.high)


def test_the_image_is_not_darker_beside_padding(monkeypatch):
    monkeypatch.setattr(augmentation, "_with_looks", lambda image, *_: image)
    one = torch.ones(1, 1, 1, 1, 1)
    for batch in views(range(8), one, one, hole=5):
        assert torch.allclose(batch.image[batch.inside], torch.tensor(1.0), atol=1e-4)


def test_distances_beyond_the_limit_stay_intervals():
    """At the limit a distance is as long or longer: in a larger view, from less on."""
    one, scales = torch.ones(1, 1, 1, 1, 1), []
    for batch in views(range(12), one, one):
        inside = batch.inside.expand_as(batch.low)
        assert (batch.high[inside] == 1).all()
        scales.append(float(batch.low[inside].median()))
    assert min(scales) < 0.95
    assert max(scales) == 1


def test_sides_are_exchanged_only_where_no_class_tells_them():
    ramp = torch.linspace(-0.5, 0.5, 16).view(1, 1, 1, 1, 16)
    for mirrored in (True, False):
        risen = {
            bool(batch.low[0, 0].diff(dim=2).mean() > 0)
            for batch in views(range(12), ramp, ramp, mirrored=mirrored)
        }
        assert risen == ({True, False} if mirrored else {True})


@pytest.mark.parametrize("across", [0, 1, 2])
def test_thick_slices_move_in_their_plane_each_by_itself(across, monkeypatch):
    """Image and distances show the place along each axis."""
    monkeypatch.setattr(augmentation, "ROTATION_DEGREES", 0.0)
    monkeypatch.setattr(augmentation, "TURNED", 0.0)
    monkeypatch.setattr(augmentation, "SCALE", (1.0, 1.0))
    monkeypatch.setattr(augmentation, "_with_looks", lambda image, *_: image)
    line = torch.linspace(-0.4, 0.4, 32)
    places = torch.stack(torch.meshgrid(line, line, line, indexing="ij"))[None]
    there = torch.ones(1, 1, 32, 32, 32)
    crops = Crops(torch.cat([places, there], dim=1), there, places, classes=3)
    moved = {True: 0, False: 0}
    for thickness, seed in itertools.product((1.0, 4.0), range(12)):
        spacing = [1.0, 1.0, 1.0]
        spacing[across] = thickness
        patch = [8, 8, 8]
        batch = augment(
            crops, [np.random.default_rng(seed)], patch, spacing, mirrored=False
        )
        assert torch.allclose(batch.image, batch.low, atol=1e-5)
        apart = batch.image[0] - places[0, :, 12:20, 12:20, 12:20]
        apart = apart.movedim(1 + across, 1).flatten(2) / float(line[1] - line[0])
        assert (apart.std(dim=2) < 1e-3).all()  # a slice moves as one
        own = apart.mean(dim=2)
        assert own[across].abs().max() < 1e-3
        if own.abs().max() > 1e-3:
            moved[thickness > 1.0] += 1
            others = [axis for axis in range(3) if axis != across]
            assert (own[others].std(dim=1) > 1e-3).all()
            assert own[others].std() < 2 * 0.5 * thickness
    assert moved[False] == 0
    assert 3 <= moved[True] <= 9


def test_an_unturned_view_shows_the_voxels_as_they_are(plan, monkeypatch):
    """Also of few slices, where a margin can be odd: nothing is averaged."""
    monkeypatch.setattr(augmentation, "ROTATION_DEGREES", 0.0)
    monkeypatch.setattr(augmentation, "SCALE", (1.0, 1.0))
    monkeypatch.setattr(augmentation, "_with_looks", lambda image, *_: image)
    case = prepared(0)
    stripes = np.zeros_like(case.image)
    stripes[:, ::2] = 1.0
    striped = dataclasses.replace(case, arrays={**case.arrays, "image": stripes})
    thin = plan.model_copy(update={"patch_zyx": (12, 16, 16), "labelled_batch": 1})
    batch = Sampler(Streams((striped,), (striped,)), thin, seed=0).batch(0, CPU)
    seen = batch.image[batch.inside]
    assert seen.min() < 0.01
    assert torch.minimum(seen.abs(), (seen - 1).abs()).max() < 0.01


def test_what_is_remembered_of_a_case_does_not_grow_with_its_voxels(monkeypatch):
    """A view of all voxels of a class would fill the memory case by case."""
    monkeypatch.setattr(cache, "CENTRES", 50)
    case = prepared(0)
    counts = [np.count_nonzero(case.target == index) for index in range(3)]
    for group, count in zip(case.centres, counts, strict=True):
        assert group.base is None
        assert group.size <= 100 < count
    assert {int(case.target.ravel()[at]) for at in case.centres[2]} == {2}


def drawn(sampler, step, unlabelled):
    torch.manual_seed(step)
    found = dataclasses.asdict(sampler.batch(step, CPU, unlabelled=unlabelled))
    cases = found.pop("cases")
    assert len(cases) == len(found["image"])
    return [*found.values(), torch.tensor([int(case[-1]) for case in cases])]


def test_what_was_read_ahead_is_what_would_be_read_now(plan):
    """Steps in any order, other kinds of steps, and other labels between two steps."""
    later = Streams(tuple(prepared(i) for i in (4, 5)), (), since=6)
    steps = [(0, True), (1, True), (2, False), (3, False), (4, True), (9, True)]
    steps += [(4, True), (5, False)]
    ahead = make(plan)
    for step in steps:
        for one, other in zip(
            drawn(ahead, *step), drawn(make(plan), *step), strict=True
        ):
            assert torch.equal(one, other)
    ahead.change(later)
    for step in (6, 7, 8):
        fresh = make(plan)
        fresh.change(later)
        first, second = drawn(ahead, step, True), drawn(fresh, step, True)
        for one, other in zip(first, second, strict=True):
            assert torch.equal(one, other)


def test_a_fault_of_reading_ahead_is_raised_at_its_own_step(plan, monkeypatch):
    sampler, read = make(plan), Sampler.read

    def broken(self, step, **asked):
        if step == 2:
            raise OSError("the disk is gone")
        return read(self, step, **asked)

    monkeypatch.setattr(Sampler, "read", broken)
    sampler.batch(0, CPU)
    sampler.batch(1, CPU)
    sampler.batch(5, CPU)
    sampler.batch(1, CPU)
    with pytest.raises(OSError, match="disk"):
        sampler.batch(2, CPU)
