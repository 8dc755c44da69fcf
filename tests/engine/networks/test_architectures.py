"""Architectures, also from other packages: one file that everything else takes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.volumes import prepared
from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.data.sampler import Sampler, Streams
from napari_semiseg.engine.methods import registry as methods
from napari_semiseg.engine.networks import registry
from napari_semiseg.engine.networks.spec import NetworkSpec
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.engine.training.trainer import Trainer
from napari_semiseg.errors import ConfigError
from outside_package import install

GUIDE = Path(__file__).parents[3] / "docs" / "adding-an-architecture.md"
TINY = {"width": 4, "patch_zyx": (16, 16, 16), "precision": "fp32", "steps": 2}


@pytest.fixture(params=registry.architecture_names())
def name(request):
    return request.param


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """The architecture of the guide, in a package with an entry point."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.S)
    install(tmp_path / "site", registry.ENTRY_POINTS, code, "plain")
    monkeypatch.syspath_prepend(tmp_path / "site")
    registry._modules.cache_clear()
    yield "plain"
    registry._modules.cache_clear()


def spec(**values):
    shared = {
        "classes": 3,
        "channels": 2,
        "width": 4,
        "strides": ((1, 2, 2), (2, 2, 2)),
    }
    return NetworkSpec(**shared | values)


def test_it_describes_itself(name):
    found = registry.find(name)
    assert found.title
    assert found.cite


def test_encoder_and_decoder_are_called_apart(name):
    network = registry.find(name).build(spec()).eval()
    image = torch.randn(1, 2, 8, 16, 16)
    features = network.encoder(image)
    assert len(features) == 3
    whole, apart = network(image), network.decode(features)
    assert whole.logits.shape == whole.distance.shape == (1, 3, 8, 16, 16)
    assert torch.equal(whole.logits, apart.logits)
    assert whole.distance.abs().max() <= 1
    single = registry.find(name).build(spec(heads=("distance",)))(image)
    assert single.logits is None
    assert single.distance.shape == (1, 3, 8, 16, 16)


@pytest.mark.parametrize("architecture", ["vnet", "resenc_unet", "hybrid_transformer"])
def test_convolutions_have_the_sizes_of_their_level(architecture):
    kernels = ((1, 3, 3), (3, 1, 3))  # and a cube, which is not named
    network = registry.find(architecture).build(spec(kernels=kernels)).eval()
    sizes = [
        layer.kernel_size
        for layer in network.modules()
        if isinstance(layer, nn.Conv3d) and max(layer.kernel_size) == 3
    ]
    assert set(sizes) == {*kernels, (3, 3, 3)}
    image = torch.randn(1, 2, 8, 16, 16)
    assert network(image).logits.shape == (1, 3, 8, 16, 16)


def test_flat_convolutions_see_a_slice_alone():
    flat = ((1, 3, 3),) * 3
    network = registry.find("vnet").build(
        spec(kernels=flat, strides=((1, 2, 2), (1, 2, 2)))
    )
    image = torch.randn(1, 2, 8, 16, 16)
    changed = image.clone()
    changed[:, :, 5] += 1
    with torch.no_grad():
        first, second = (network.eval()(one).logits for one in (image, changed))
    differ = (first != second).any(dim=(0, 1, 3, 4))
    assert differ.nonzero().flatten().tolist() == [5]


def test_it_has_what_it_offers(name):
    found, image = registry.find(name), torch.randn(1, 2, 8, 16, 16)
    for feature in found.offers:
        if feature == "dropout":
            assert found.build(spec()).dropout_layers()
            continue
        asked = (
            {"pyramid": True}
            if feature == "output pyramid"
            else {"decoders": ("transposed", "linear", "nearest")}
        )
        outputs = found.build(spec(**asked)).outputs(image)
        assert len(outputs) == (2 if feature == "output pyramid" else 3)
        assert all(one.logits.shape == (1, 3, 8, 16, 16) for one in outputs)


def test_a_warm_start_keeps_the_scales_of_its_normalisation(name, task, plan):
    def trainer(seed):
        learner = methods.build(
            "supervised", {}, dataclasses.replace(task, architecture=name)
        )
        streams = Streams((prepared(0), prepared(1)), ())
        batches = Sampler(streams, plan, seed)
        return Trainer(learner, batches, plan, seed, torch.device("cpu"))

    earlier, fresh, begun = trainer(1).state(), trainer(2).state(), trainer(2)
    for state in (earlier.students, fresh.students):
        for index, value in enumerate(state["student"].values()):
            value += index if value.is_floating_point() else 0
    settings = TrainingConfig(steps=1, start_from="x", shrink=0.5, perturb=0.25)
    begun.warm_start(earlier, settings)
    scales = {
        id(weight)
        for layer in begun.networks.students["student"].norm_layers()
        for weight in layer.parameters()
    }
    assert scales
    old, new = earlier.students["student"], trainer(2).state().students["student"]
    for key, weight in begun.networks.students["student"].named_parameters():
        mixed = old[key] if id(weight) in scales else 0.5 * old[key] + 0.25 * new[key]
        assert torch.allclose(weight, mixed), key


def test_a_run_keeps_its_architecture_and_begins_no_other(ball_project):
    def train(**values):
        config = TrainingConfig.build(method="supervised", **TINY | values)
        list(engine.train(ball_project, config))
        return ball_project.latest_run()

    first = train(settings={"architecture": "resenc_unet"})
    assert first.plan.architecture == first.config.architecture == "resenc_unet"
    made = engine.predict(ball_project, first, ball_project.case("case_3"))
    assert len(made.record.score.features) > 0  # by which `diverse` compares scans
    list(engine.resume(ball_project, first, steps=3))
    assert Checkpoint.load(first.folder.last).step == 3
    second = train(architecture="resenc_unet", start_from=first.id)
    assert second.plan.architecture == "resenc_unet"
    with pytest.raises(ConfigError, match="architecture vnet, found resenc_unet"):
        train(start_from=first.id)


def test_one_from_another_package_trains(ball_project, outside):
    assert outside in registry.architecture_names()
    config = TrainingConfig(method="auto", architecture=outside, **TINY)
    events = list(engine.train(ball_project, config))
    assert events[-1].reason == "completed"
    run = ball_project.latest_run()
    made = engine.predict(ball_project, run, ball_project.case("case_3"))
    assert len(made.record.score.features) == 4


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("cct", "a network with several decoders"),
        ("urpc", "a network with output pyramid"),
        ("ua_mt", "a network with dropout"),
    ],
)
def test_what_it_lacks_is_refused_before_a_run_is_made(
    ball_project, outside, method, words
):
    config = TrainingConfig(method=method, architecture=outside, **TINY)
    with pytest.raises(ConfigError, match=words) as refused:
        list(engine.train(ball_project, config))
    assert "architecture=vnet" in str(refused.value)
    assert not ball_project.runs()


def test_an_unknown_one_and_a_second_one_of_a_name_are_refused(monkeypatch, outside):
    with pytest.raises(ConfigError, match=r"no network architecture 'unet'; .*vnet"):
        registry.find("unet")
    twin = registry.entry_points(group=registry.ENTRY_POINTS)["plain"]
    twin = type(twin)("vnet", "elsewhere", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda **_: [twin])
    registry._modules.cache_clear()
    with pytest.raises(ConfigError, match="two network architectures are called"):
        registry.architecture_names()
