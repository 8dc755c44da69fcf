from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.volumes import prepared
from napari_semiseg.core.geometry import Geometry
from napari_semiseg.engine.inference import uncertainty
from napari_semiseg.engine.inference.predictor import Maps, Predictor
from napari_semiseg.engine.inference.uncertainty import (
    UncertaintyMaps,
    extent,
    score_case,
    surface_shell,
)
from napari_semiseg.engine.methods import base as plugin
from napari_semiseg.engine.methods import registry
from napari_semiseg.engine.methods.base import Inference
from napari_semiseg.engine.networks.blocks import SegmentationNetwork
from napari_semiseg.engine.networks.embedding import EmbeddingAccumulator
from napari_semiseg.imaging import sliding_window
from napari_semiseg.imaging.foreign_scans import SETTLED
from napari_semiseg.imaging.sliding_window import GridSampler


class Local:
    """Stands in for a method whose answer depends on each voxel alone."""

    name = "local"

    def __init__(self, task):
        self.task = task

    def infer(self, teachers, image):
        p = torch.sigmoid(4 * image)
        return Inference(
            torch.cat([1 - p, p], 1), torch.tanh(-torch.cat([-image, image], 1)), p * 0
        )


@pytest.fixture
def predictor(plan, task):
    two = plugin.Task(2, task.limit_voxels, task.width, task.strides)
    return Predictor(Local(two), {}, plan, torch.device("cpu"))


@pytest.mark.parametrize("shape", [(16, 16, 16), (23, 40, 17), (5, 30, 9)])
def test_windows_blend_to_the_whole(predictor, shape):
    """With a local model the blend must equal the model on the whole volume."""
    image = torch.randn(shape)
    maps = predictor.maps(image[None].numpy())
    assert maps.probabilities.shape == (2, *shape)
    assert torch.allclose(maps.probabilities[1], torch.sigmoid(4 * image), atol=1e-4)
    assert torch.allclose(maps.distance[1], torch.tanh(-image), atol=1e-4)


@pytest.mark.parametrize("mirrored", [True, False])
def test_sides_are_exchanged_only_as_in_training(plan, task, mirrored):
    class Sided(Local):
        def infer(self, teachers, image):
            asked.append(image)
            return super().infer(teachers, image)

    asked: list[torch.Tensor] = []
    two = plugin.Task(2, task.limit_voxels, task.width, task.strides)
    obeyed = plan.model_copy(update={"mirrored": mirrored})
    Predictor(Sided(two), {}, obeyed, torch.device("cpu")).maps(
        torch.randn(1, 16, 16, 16).numpy()
    )
    first, *others = asked
    assert len(others) == mirrored
    assert all(torch.equal(other, first.flip(4)) for other in others)


@pytest.mark.parametrize("shape", [(16, 16, 16), (60, 23, 40), (5, 30, 9)])
def test_planes_come_in_order_and_few_at_a_time(predictor, shape):
    image = torch.randn(shape)
    blocks = list(predictor.planes(image[None].numpy()))
    assert max(block.gap.shape[1] for block in blocks) <= 16
    joined = torch.cat([block.probabilities for block in blocks], dim=1)
    assert torch.equal(joined, predictor.maps(image[None].numpy()).probabilities)


def ball_image(shape, centre, radius):
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    inside = np.linalg.norm(grid - np.array(centre), axis=-1) < radius
    return torch.from_numpy(np.where(inside, 1.5, -1.5).astype(np.float32))


def test_a_large_volume_is_only_predicted_where_something_is(predictor, monkeypatch):
    """The mask and the distances near it are those of the whole lattice."""
    image = ball_image((48, 64, 64), (20, 20, 45), 7)
    monkeypatch.setattr(sliding_window, "MANY_WINDOWS", 10**6)
    whole = predictor.maps(image[None].numpy())
    looks = []
    look = predictor._predict_window
    monkeypatch.setattr(
        predictor, "_predict_window", lambda crop: looks.append(0) or look(crop)
    )
    monkeypatch.setattr(sliding_window, "MANY_WINDOWS", 8)
    sparse = predictor.maps(image[None].numpy())
    every = len(GridSampler(image.shape, (16, 16, 16)))
    assert 0 < len(looks) < every / 3
    assert torch.equal(sparse.probabilities.argmax(0), whole.probabilities.argmax(0))
    near = whole.probabilities[1] > 0.5
    assert torch.equal(sparse.distance[:, near], whole.distance[:, near])
    far = sparse.probabilities[1] == 0
    assert far.float().mean() > 0.5
    assert (sparse.distance[1][far] == 1).all()
    assert (sparse.entropy[0][far] < 1e-5).all()
    assert torch.isfinite(sparse.distance).all()


def test_where_the_first_look_finds_nothing_all_is_predicted(predictor, monkeypatch):
    monkeypatch.setattr(sliding_window, "MANY_WINDOWS", 8)
    image = torch.full((48, 48, 48), -1.5)
    maps = predictor.maps(image[None].numpy())
    expected = float(torch.sigmoid(torch.tensor(-6.0)))
    assert maps.probabilities[1].mean() == pytest.approx(expected, rel=1e-3)


def maps_of(indices, doubt):
    hot = torch.nn.functional.one_hot(torch.from_numpy(indices), 2).movedim(-1, 0)
    p = hot.float() * (1 - torch.from_numpy(doubt)) + 0.5 * torch.from_numpy(doubt)
    return Maps(p, torch.zeros_like(p), torch.zeros(1, *indices.shape))


def score_of(maps, geometry, kind="entropy"):
    indices = maps.probabilities.argmax(0).numpy().astype(np.uint8)
    uncertain = UncertaintyMaps(
        indices, maps.entropy[0].numpy(), maps.gap[0].numpy(), kind
    )
    return score_case(uncertain, geometry, {"ball": 1.0})


def test_scores_do_not_depend_on_the_field_of_view():
    indices = np.zeros((24, 24, 24), np.int64)
    indices[8:16, 8:16, 8:16] = 1
    doubt = np.where(surface_shell(indices), 0.4, 0.0).astype(np.float32)

    def score(pad):
        wide, hazy = np.pad(indices, pad), np.pad(doubt, pad)
        return score_of(maps_of(wide, hazy), Geometry(wide.shape, np.eye(4)))

    assert score(0).uncertainty == pytest.approx(score(20).uncertainty)
    assert 0 < score(0).uncertainty < 1


@pytest.mark.parametrize("change", ["padded", "cropped", "doubled"])
def test_neither_volumes_nor_slices_gain_by_size(change):
    """A case keeps its scores, so its rank, whatever the field of view or voxels."""
    indices = np.zeros((32, 32, 32), np.int64)
    indices[10:20, 8:24, 9:22] = 1
    rng = np.random.default_rng(0)
    haze = rng.uniform(0.1, 0.5, indices.shape).astype(np.float32)
    doubt = np.where(surface_shell(indices), haze, 0.0).astype(np.float32)

    def score(indices, doubt):
        return score_of(maps_of(indices, doubt), Geometry(indices.shape, np.eye(4)))

    if change == "padded":
        other = score(np.pad(indices, 24), np.pad(doubt, 24))
    elif change == "cropped":
        box = (slice(5, 25), slice(3, 29), slice(4, 27))
        other = score(indices[box], doubt[box])
    else:
        wide = ((0, 32), (0, 0), (0, 0))
        other = score(np.pad(indices, wide), np.pad(doubt, wide))
    known = score(indices, doubt)
    for key in ("uncertainty", "entropy"):
        assert getattr(other, key) == pytest.approx(getattr(known, key))
    assert other.classes["ball"].entropy == pytest.approx(known.classes["ball"].entropy)
    for ours, theirs in zip(known.slices, other.slices, strict=True):
        assert theirs.score == pytest.approx(ours.score, rel=1e-4)
        assert (theirs.axis, theirs.reason) == (ours.axis, ours.reason)


def test_a_case_at_twice_the_voxels_scores_alike():
    indices = np.zeros((24, 24, 24), np.int64)
    indices[6:18, 6:18, 6:18] = 1
    shell = surface_shell(indices)
    fine = np.kron(indices, np.ones((2, 2, 2), np.int64))
    coarse_score = score_of(
        maps_of(indices, np.where(shell, 0.4, 0).astype(np.float32)),
        Geometry(indices.shape, np.eye(4)),
    )
    fine_score = score_of(
        maps_of(fine, np.where(surface_shell(fine), 0.4, 0).astype(np.float32)),
        Geometry(fine.shape, np.diag([0.5, 0.5, 0.5, 1])),
    )
    same = np.kron(np.where(shell, 0.4, 0), np.ones((2, 2, 2))).astype(np.float32)
    whole = score_of(maps_of(fine, same), Geometry(fine.shape, np.eye(4)))
    assert whole.uncertainty == pytest.approx(coarse_score.uncertainty)
    best = [max(s.score for s in one.slices) for one in (coarse_score, fine_score)]
    assert best[1] == pytest.approx(best[0])


@pytest.mark.parametrize("depth", [6, 24, 96])
def test_a_slice_is_named_once_whatever_the_working_grid(depth):
    """A scan of thick slices among scans of thin ones has several planes a slice."""
    indices = np.zeros((depth, 24, 24), np.int64)
    indices[depth // 6 : -depth // 6, 8:16, 8:16] = 1
    doubt = np.where(surface_shell(indices), 0.4, 0.0).astype(np.float32)
    score = score_of(maps_of(indices, doubt), Geometry((24, 24, 24), np.eye(4)))
    for found, most in ((score.slices, 8), (score.classes["ball"].slices, 4)):
        places = [one.index for one in found if one.axis == 0]
        assert len(set(places)) == len(places) == min(most, depth)


def test_doubt_far_from_the_surface_counts_when_it_is_undecided():
    indices = np.zeros((24, 24, 24), np.int64)
    indices[2:8, 8:16, 8:16] = 1
    doubt = np.where(surface_shell(indices), 0.2, 0.01).astype(np.float32)
    doubt[18, 4:20, 4:20] = 0.95  # perhaps a second piece that was missed
    score = score_of(maps_of(indices, doubt), Geometry(indices.shape, np.eye(4)))
    assert score.slices[0].index == 18


def test_classes_have_their_own_doubt_and_slices():
    indices = np.zeros((24, 24, 24), np.int64)
    indices[2:8, 4:20, 4:20], indices[15:20, 9:14, 9:14] = 1, 2
    doubt = np.zeros(indices.shape, np.float32)
    doubt[surface_shell(indices == 2)] = 0.6
    hot = torch.nn.functional.one_hot(torch.from_numpy(indices), 4).movedim(-1, 0)
    mixed = torch.from_numpy(doubt)
    p = hot.float() * (1 - mixed) + 0.25 * mixed
    maps = Maps(p, torch.zeros_like(p), torch.zeros(1, *indices.shape))
    uncertain = UncertaintyMaps(
        indices.astype(np.uint8),
        maps.entropy[0].numpy(),
        maps.gap[0].numpy(),
        "entropy",
    )
    names = {"large": 1.0, "small": 0.1, "missed": 0.0}
    score = score_case(uncertain, Geometry(indices.shape, np.eye(4)), names)
    assert list(score.classes) == ["large", "small"]
    assert score.classes["small"].entropy > 0.3 > score.classes["large"].entropy
    small = score.classes["small"].slices
    assert {item.index for item in small if item.axis == 0} <= set(range(12, 23))
    assert small[0].reason == "small uncertain"


def test_a_piece_with_sharp_edges_is_more_doubtful_than_the_whole():
    """Most of the structure is missing, and some doubt is left where it should be."""
    indices = np.zeros((24, 24, 24), np.int64)
    indices[4:20, 4:20, 4:20] = 1
    doubt = np.where(surface_shell(indices), 0.2, 0.0).astype(np.float32)
    piece, haze = indices.copy(), doubt.copy()
    piece[:, :, 8:] = 0
    haze[piece == 0] = np.maximum(haze, 0.1)[piece == 0]

    def score(indices, doubt):
        return score_of(maps_of(indices, doubt), Geometry(indices.shape, np.eye(4)))

    assert score(piece, haze).uncertainty > score(indices, doubt).uncertainty
    nothing = np.zeros_like(indices)
    assert score(nothing, doubt).uncertainty == 1.0
    assert score(nothing, np.zeros_like(doubt)).uncertainty == 0.0


def test_the_shell_is_as_thick_along_every_axis_in_mm():
    indices = np.zeros((9, 24, 24), np.uint8)
    indices[3:6, 8:16, 8:16] = 1
    flat = surface_shell(indices, (10.0, 1.5, 1.5))
    assert not flat[[2, 6]].any()
    assert flat[4, 5:19, 12].sum() == 4 * 3
    assert not flat[4, 11:13, 11:13].any()
    voxels = surface_shell(indices)
    assert np.array_equal(surface_shell(indices, (1.02, 1.0, 1.0)), voxels)
    assert voxels[[1, 2, 6, 7]].any(axis=(1, 2)).all()
    long = surface_shell(indices, (1.0, 1.6, 1.6))
    assert long[4, :8, 12].sum() == 2


def test_slices_across_thick_ones_are_not_for_review():
    indices = np.zeros((9, 24, 24), np.int64)
    indices[2:7, 8:16, 8:16] = 1
    doubt = np.full(indices.shape, 0.4, np.float32)

    def axes(depth):
        geometry = Geometry(indices.shape, np.diag([depth, 1.5, 1.5, 1.0]))
        score = score_of(maps_of(indices, doubt), geometry)
        return {item.axis for item in score.slices}

    assert axes(10.0) == {0}
    assert axes(3.0) == {0, 1, 2}


def test_the_reach_of_what_was_found():
    labels = np.zeros((5, 6, 7), np.uint8)
    assert extent(labels) == ()
    labels[1, 2, 6] = 1
    labels[4, 2, 0] = 2
    assert extent(labels) == ((1, 4), (2, 2), (0, 6))


def test_features_tell_scans_apart_and_repeat(plan, task):
    torch.manual_seed(0)
    method = registry.build("supervised", {}, task)
    teachers = method.networks()

    def features(shape, low, high):
        image = torch.zeros(1, *shape)
        image[:, low:high, low:high, low:high] = 2.0
        predictor = Predictor(method, teachers, plan, torch.device("cpu"))
        predictor.maps(image.numpy())
        return predictor._embedding.mean

    found = features((16, 16, 16), 4, 12)
    assert found.shape == (4 * task.width,)
    assert torch.isfinite(found).all()
    assert torch.equal(found, features((16, 16, 16), 4, 12))
    assert not torch.allclose(found, features((16, 16, 16), 2, 14), atol=1e-3)
    encoder = next(iter(teachers.values())).encoder
    assert not encoder._forward_hooks  # nothing goes on listening


def test_an_embedding_weighs_places_by_their_foreground():
    class Net(SegmentationNetwork):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Identity()

    net, embedding = Net(), EmbeddingAccumulator()
    maps = torch.zeros(1, 1, 2, 1, 1)
    maps[0, 0, 0] = 1.0
    p = torch.zeros(1, 2, 4, 2, 2)
    p[:, 1, :2], p[:, 0, 2:] = 1.0, 1.0
    with embedding.recording(net):
        net.encoder([maps])
    embedding.add(p)
    assert embedding.mean.item() == pytest.approx(1.01 / 1.02)
    assert EmbeddingAccumulator().mean.numel() == 0


def test_worst_slices_come_first_on_the_case_grid():
    indices = np.zeros((12, 12, 12), np.int64)
    indices[3:9, 3:9, 3:9] = 1
    doubt = np.zeros((12, 12, 12), np.float32)
    doubt[5] = 0.9
    doubt[7] = 0.3
    score = score_of(
        maps_of(indices, doubt),
        Geometry((24, 12, 12), np.diag([0.5, 1, 1, 1.0])),
    )
    axial = [item for item in score.slices if item.axis == 0]
    assert [item.index for item in axial[:2]] == [11, 15]
    assert axial[0].score > axial[1].score


def test_certain_prediction_has_no_doubtful_slice():
    indices = np.zeros((8, 8, 8), np.int64)
    score = score_of(
        maps_of(indices, np.zeros((8, 8, 8), np.float32)),
        Geometry((8, 8, 8), np.eye(4)),
    )
    assert score.uncertainty == pytest.approx(0, abs=1e-5)
    assert all(item.score < 1e-5 for item in score.slices)


def test_the_map_that_is_stored_ranks_the_case():
    indices = np.zeros((12, 12, 12), np.int64)
    indices[3:9, 3:9, 3:9] = 1
    maps = maps_of(indices, np.zeros((12, 12, 12), np.float32))
    maps.gap[:, 4] = 0.5
    geometry = Geometry((12, 12, 12), np.eye(4))
    by_gap, by_entropy = score_of(maps, geometry, "gap"), score_of(maps, geometry)
    assert by_gap.uncertainty == by_gap.gap > by_entropy.uncertainty
    assert by_gap.slices[0].index == 4
    assert "disagree" in by_gap.slices[0].reason


def test_bounds_of_uncertainty():
    truth = prepared(0)
    maps = maps_of(
        (truth.target > 0).astype(np.int64), np.full((24, 24, 24), 1.0, np.float32)
    )
    assert maps.entropy.max() <= 1
    assert maps.entropy.min() > 0.99


def test_the_shell_is_the_same_in_slabs(monkeypatch):
    indices = np.zeros((40, 20, 20), np.uint8)
    indices[5:25, 4:9, 3:12] = 1
    indices[23:38, 9:15, 9:15] = 2
    whole = surface_shell(indices)
    assert 0 < whole.mean() < 1
    for slab in (1, 7):
        monkeypatch.setattr(uncertainty, "SLAB", slab)
        assert np.array_equal(surface_shell(indices), whole)


@pytest.fixture
def vnet(plan, task):
    """A predictor whose V-Net has seen noise of mean 0 and deviation 1."""
    method = registry.build("supervised", {}, task)
    network = method.networks()["student"]
    with torch.no_grad():
        for _ in range(20):
            network(torch.randn(4, 1, *plan.patch_zyx))
    return Predictor(
        method,
        {"student": network},
        plan,
        torch.device("cpu"),
        familiar=lambda: SETTLED,
    )


def hooks(predictor):
    return [len(layer._forward_hooks) for layer in predictor._layers]


def test_only_a_foreign_scan_is_adapted_to(vnet, plan):
    shape = (1, *(edge + 8 for edge in plan.patch_zyx))
    familiar = torch.randn(shape).numpy()
    foreign = 3 * familiar + 2
    assert vnet._own_share(familiar) == 0.0
    share = vnet._own_share(foreign)
    assert share > 0.3
    adapted = vnet.maps(foreign).probabilities
    layers, vnet._layers = vnet._layers, []
    as_before = vnet.maps(foreign).probabilities
    assert not torch.equal(adapted, as_before)
    plain = vnet.maps(familiar).probabilities
    vnet._layers = layers
    assert torch.equal(vnet.maps(familiar).probabilities, plain)


@pytest.mark.parametrize("familiar", [None, SETTLED + 0.01])
def test_nothing_is_adapted_by_a_network_that_knows_no_scan(vnet, plan, familiar):
    vnet._familiar = lambda: familiar
    shape = (1, *(edge + 8 for edge in plan.patch_zyx))
    assert vnet._own_share(3 * torch.randn(shape).numpy() + 2) == 0.0


def test_a_prediction_that_is_given_up_leaves_the_network_as_it_was(vnet, plan):
    shape = (1, *(3 * edge for edge in plan.patch_zyx))
    blocks = vnet.planes(3 * torch.randn(shape).numpy() + 2)
    next(blocks)
    assert set(hooks(vnet)) == {1}
    blocks.close()
    assert set(hooks(vnet)) == {0}
