"""Pasted crops: image, label, validity and distance come from the same volume."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from napari_semiseg.engine.data.batch import Batch
from napari_semiseg.engine.methods.copy_paste import (
    paste_between_labelled,
    paste_by_voxel,
    visible_distance,
)
from napari_semiseg.engine.methods.perturbations import (
    beta,
    confident,
    random_box,
    sharpen,
)

SIZE = (6, 8, 10)
LIMIT = 10.0
FAR = torch.full((1, 1, *SIZE), torch.inf)


def batch(labelled: int, unlabelled: int) -> Batch:
    """Every map of a crop holds the crop's number, so that sources can be told."""
    count = labelled + unlabelled
    numbers = torch.arange(count).float().view(-1, 1, 1, 1, 1)
    image = numbers.expand(count, 1, *SIZE).contiguous()
    known = image[:labelled]
    return Batch(
        image=image,
        inside=torch.ones_like(image, dtype=torch.bool),
        target=known[:, 0].long(),
        valid=torch.ones_like(known[:, 0], dtype=torch.bool),
        low=known.expand(-1, 2, *SIZE) / 10,
        high=known.expand(-1, 2, *SIZE) / 10,
        planes=known[:, 0].long(),
    )


@pytest.mark.parametrize(("labelled", "unlabelled"), [(2, 2), (1, 3), (3, 1), (2, 0)])
def test_all_maps_of_a_mixed_crop_have_one_source(labelled, unlabelled):
    torch.manual_seed(1)
    given = batch(labelled, unlabelled)
    free = given.image[given.unlabelled]
    guess = free.expand(-1, 2, *SIZE)
    box = random_box(given.image, 0.5)
    count = max(labelled, len(free))
    boxes = box.expand(count, 1, *SIZE)
    crops, moved, guessed = paste_by_voxel(
        given, torch.cat([boxes, ~boxes]), FAR, guess
    )
    assert len(crops.image) == len(moved) == len(guessed) == 2 * count
    assert torch.equal(crops.valid.unsqueeze(1), ~guessed)
    on_label = crops.valid
    assert torch.equal(crops.image[:, 0][on_label], crops.target[on_label].float())
    assert torch.equal(crops.low[:, 0][on_label], crops.image[:, 0][on_label] / 10)
    assert torch.equal(moved[:, :1][guessed], crops.image[guessed])
    assert torch.equal(guessed[:count], ~box.expand(count, 1, *SIZE))
    assert torch.equal(guessed[count:], box.expand(count, 1, *SIZE))


def test_padding_is_never_guessed():
    given = batch(2, 2)
    given.inside[2:, :, :2] = False
    everywhere = torch.ones((2, 1, *SIZE), dtype=torch.bool)
    ours = torch.cat([everywhere, ~everywhere])
    _, _, guessed = paste_by_voxel(given, ours, FAR, given.image[2:])
    assert not guessed[:2].any()
    assert torch.equal(guessed[2:], given.inside[2:])


def test_voxels_without_annotation_are_guessed_by_their_own_map():
    given = batch(2, 1)
    given.valid[:, 3:] = False
    ours = torch.ones((2, 1, *SIZE), dtype=torch.bool)
    ours[1, :, :, 4:] = False
    crops, moved, guessed = paste_by_voxel(
        given, ours, FAR, given.image[2:], given.image[:2]
    )
    assert torch.equal(guessed, ~crops.valid.unsqueeze(1))
    assert torch.equal(moved, crops.image)
    _, _, guessed = paste_by_voxel(given, ours, FAR, given.image[2:])
    assert torch.equal(guessed, ~ours)


def test_neighbours_exchange_boxes():
    torch.manual_seed(0)
    crops = paste_between_labelled(batch(3, 2), 0.5, LIMIT)
    assert crops.image.shape[0] == 3
    for index in range(3):
        assert set(crops.image[index].unique().tolist()) == {index, (index - 1) % 3}
    assert torch.equal(crops.image[:, 0], crops.target.float())


def test_a_voxel_sees_as_far_as_the_other_side_of_a_box():
    box = torch.zeros((1, 1, *SIZE), dtype=torch.bool)
    box[..., 1:5, 2:6, 0:6] = True  # its first face along x is the rim of the crop
    far = visible_distance(box, LIMIT)[0, 0] * LIMIT
    voxels = torch.stack(torch.meshgrid(*map(torch.arange, SIZE), indexing="ij"), -1)
    inside = box[0, 0]
    for here, there in ((inside, ~inside), (~inside, inside)):
        pairs = torch.cdist(voxels[here].float(), voxels[there].float())
        assert torch.allclose(far[here], pairs.amin(dim=1), atol=1e-3)
    whole = torch.ones_like(box)
    assert torch.isinf(visible_distance(whole, LIMIT)).all()
    assert torch.isinf(visible_distance(~whole, LIMIT)).all()


def test_a_distance_reaches_no_further_than_its_scan_is_seen():
    """Deep in an organ, one voxel from where another scan begins: deeper than that."""
    torch.manual_seed(0)
    given = batch(2, 0)
    depth = torch.tensor([-1.0, -0.05, 0.05, 1.0]).view(2, 2, 1, 1, 1)
    maps = depth.expand(2, 2, *SIZE).contiguous()
    given = dataclasses.replace(given, low=maps, high=maps)
    crops = paste_between_labelled(given, 0.5, LIMIT)
    theirs = crops.image != given.image
    source = torch.where(theirs, maps.roll(1, 0), maps)
    seen = visible_distance(theirs[:1], LIMIT).expand_as(source)
    near = source.abs() <= seen
    assert near.any()
    assert not near.all()
    assert torch.equal(crops.low[near], source[near])
    assert torch.equal(crops.high[near], source[near])
    deep, outside = ~near & (source < 0), ~near & (source > 0)
    assert torch.equal(crops.high[deep], -seen[deep])
    assert (crops.low[deep] == -1).all()
    assert torch.equal(crops.low[outside], seen[outside])
    assert (crops.high[outside] == 1).all()


def test_a_box_has_the_size_asked_for():
    like = torch.zeros(1, 1, *SIZE)
    for seed in range(20):
        torch.manual_seed(seed)
        box = random_box(like, 0.5)[0, 0]
        edges = [
            int(box.amax(dim=[a for a in range(3) if a != axis]).sum())
            for axis in range(3)
        ]
        assert edges == [3, 4, 5]
        assert int(box.sum()) == 60


def test_sharpening_keeps_order_and_sum():
    said = torch.softmax(torch.randn(2, 3, 4, 4, 4), dim=1)
    sharp = sharpen(said, 0.1)
    assert torch.allclose(sharp.sum(dim=1), torch.ones(2, 4, 4, 4), atol=1e-5)
    assert torch.equal(sharp.argmax(dim=1), said.argmax(dim=1))
    assert (sharp.amax(dim=1) >= said.amax(dim=1) - 1e-5).all()
    assert torch.allclose(sharpen(said, 1.0), said, atol=1e-5)


def test_confidence_and_beta_draws():
    said = torch.tensor([0.9, 0.1]).view(1, 2, 1, 1, 1)
    assert bool(confident(said, 0.9).item())
    assert not bool(confident(said, 0.95).item())
    torch.manual_seed(0)
    narrow, wide = beta(50.0, 400), beta(0.2, 400)
    assert abs(float(narrow.mean()) - 0.5) < 0.02
    assert narrow.std() < 0.1 < 0.3 < wide.std()
