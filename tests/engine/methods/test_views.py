"""Views that methods compare: exact where they can be, and never a wrong patient."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from engine.methods.test_methods import CPU, sampler, trainer
from napari_semiseg.engine.methods import base as plugin
from napari_semiseg.engine.methods import registry
from napari_semiseg.engine.methods.views import View, draw_view

SYMMETRIES = [
    View(order, frozenset(flips))
    for order in itertools.permutations(range(3))
    for count in range(4)
    for flips in itertools.combinations(range(3), count)
]


@pytest.fixture
def sided(task):
    """A task with classes that only their side tells apart."""
    return dataclasses.replace(task, mirrored=False)


def pattern(count=2):
    """Smooth noise, which is unlike each of its mirror images."""
    noise = torch.randn(count, 1, 16, 16, 16)
    return torch.nn.functional.avg_pool3d(noise, 3, 1, 1)


def standard(crops):
    """Crops (N, 1, 16, 16, 16) as rows of unit length and mean 0."""
    rows = crops.flatten(1)
    return torch.nn.functional.normalize(rows - rows.mean(dim=1, keepdim=True))


def mirror_images(name, task, plan):
    """How much what the networks of a method see is like a mirror image of the crops.

    The largest correlation over four draws.
    """
    learner = registry.build(name, {}, task)
    nets = trainer(name, task, plan).networks
    batch, seen = sampler(plan).batch(0, CPU), []
    batch = dataclasses.replace(batch, image=pattern(len(batch.image)))
    for network in (*nets.students.values(), *nets.teachers.values()):
        network.encoder.register_forward_pre_hook(
            lambda _, given: seen.append(given[0])
        )
    mirrors = [view(batch.image) for view in SYMMETRIES if view.is_mirror_image]
    for seed in range(4):
        torch.manual_seed(seed)
        learner.loss(nets, batch, plugin.Progress(10, 10))
    return float(
        (standard(torch.cat(seen)) @ standard(torch.cat(mirrors)).T).max().detach()
    )


@pytest.mark.parametrize("name", sorted(registry.methods()))
def test_no_network_sees_a_mirror_image_where_classes_tell_sides(name, sided, plan):
    assert mirror_images(name, sided, plan) < 0.6


def test_mirror_images_are_seen_where_no_class_tells_sides(task, plan):
    assert mirror_images("tcsm", task, plan) > 0.7


def test_half_of_all_symmetries_are_mirror_images():
    assert len(set(SYMMETRIES)) == 48
    assert sum(view.is_mirror_image for view in SYMMETRIES) == 24


def test_turns_and_mirrors_are_undone_exactly():
    maps = torch.randn(2, 3, 4, 5, 6)
    for view in SYMMETRIES:
        assert torch.equal(view.undo(view(maps)), maps)


def test_a_zoom_enlarges_about_the_centre_and_is_undone():
    position = torch.linspace(-1, 1, 24)
    z, y, x = torch.meshgrid(position, position, position, indexing="ij")
    ball = (torch.sqrt(z**2 + y**2 + x**2) < 0.4).float()[None, None]
    view = View(zoom=1.5)
    larger = float(view(ball).sum() / ball.sum())
    assert larger == pytest.approx(1.5**3, rel=0.1)
    assert (view.undo(view(ball)) - ball).abs().mean() < 0.02
    smaller = View(zoom=0.5)
    shown = smaller.shown(torch.ones(1, 1, 8, 8, 8, dtype=torch.bool))
    assert shown[..., 3:5].any()
    assert not shown[..., 0].any()


def test_axes_are_exchanged_only_where_edges_and_voxels_allow_it(task):
    torch.manual_seed(0)
    thick = dataclasses.replace(task, spacing_mm=(3.0, 1.0, 1.0))
    drawn = {
        name: {draw_view(which, shape).order for _ in range(60)}
        for name, which, shape in (
            ("cube", task, (16, 16, 16)),
            ("thick", thick, (16, 16, 16)),
            ("thin", task, (8, 16, 16)),
            ("box", task, (8, 16, 24)),
        )
    }
    assert len(drawn["cube"]) == 6
    assert drawn["thick"] == drawn["thin"] == {(0, 1, 2), (0, 2, 1)}
    assert drawn["box"] == {(0, 1, 2)}


def test_views_of_sided_classes_are_turns(sided):
    torch.manual_seed(0)
    views = [draw_view(sided, (16, 16, 16), 1.2) for _ in range(200)]
    assert not any(view.is_mirror_image for view in views)
    assert len({(view.order, view.flips) for view in views}) == 24
    assert all(1 / 1.2 <= view.zoom <= 1.2 for view in views)
