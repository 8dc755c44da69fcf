"""The contract that every training method keeps, run on each of them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from engine.volumes import SHAPE, prepared
from napari_semiseg.core.config import DEFAULT_ARCHITECTURE
from napari_semiseg.engine.data.sampler import Sampler, Streams
from napari_semiseg.engine.inference.predictor import Predictor
from napari_semiseg.engine.methods import base as plugin
from napari_semiseg.engine.methods import registry
from napari_semiseg.engine.networks.blocks import Heads
from napari_semiseg.engine.networks.registry import architecture_names, find
from napari_semiseg.engine.training.trainer import Trainer
from napari_semiseg.errors import ConfigError

METHODS = sorted(registry.methods())
NEEDY = ("auto", "cct", "mc_net_plus", "ua_mt", "urpc")
"""Methods that between them use all that an architecture offers."""
CHOICES = [
    *((method, DEFAULT_ARCHITECTURE) for method in METHODS),
    *(
        (method, architecture)
        for architecture in architecture_names()
        for method in NEEDY
        if architecture != DEFAULT_ARCHITECTURE
        and registry.METHODS.find(method).needs <= find(architecture).offers
    ),
]
CPU = torch.device("cpu")
DRAWABLE = {"number", "integer", "boolean", "string"}


def sampler(plan, *, unlabelled=True, known=None, seed=3):
    labelled = [prepared(i, known=known) for i in range(2)]
    others = [prepared(i, labelled=False) for i in range(2, 5)] if unlabelled else []
    return Sampler(Streams(tuple(labelled), tuple(others)), plan, seed)


def build(name, task, **params):
    """Build a method that takes unlabelled crops in the few steps of a test."""
    early = {"least_entropy_ratio": 0} if name == "auto" else {}
    return registry.build(name, {**early, **params}, task)


def trainer(name, task, plan, *, seed=3, **streams):
    learner = build(name, task)
    return Trainer(learner, sampler(plan, seed=seed, **streams), plan, seed, CPU)


@pytest.fixture(params=CHOICES, ids="-".join)
def choice(request):
    return request.param


@pytest.fixture
def name(choice):
    return choice[0]


@pytest.fixture
def task(choice, task):
    return dataclasses.replace(task, architecture=choice[1])


def decided(networks):
    """Teachers that are sure, by both heads, of class 1: pseudo labels need that."""
    for network in networks.teachers.values():
        for module in network.modules():
            if isinstance(module, Heads):
                hot = torch.zeros(module.classes)
                hot[1] = 9.0
                both = {"segmentation": hot, "distance": 1.0 - hot}
                module.head.weight.data.zero_()
                module.head.bias.data = torch.cat([both[name] for name in module.names])
    return networks


def terms_of(name, task, plan, batch, step=10, total=10, **params):
    learner = build(name, task, **params)
    networks = decided(trainer(name, task, plan).networks)
    for network in networks.students.values():
        network.train()
    terms = learner.loss(networks, batch, plugin.Progress(step, total))
    return terms, networks


def test_describes_itself(name):
    kind = registry.METHODS.find(name)
    assert kind.title
    assert kind.cite
    assert kind.__doc__
    for field in kind.Params.model_json_schema()["properties"].values():
        assert field["type"] in DRAWABLE
        assert field["description"]
        assert "default" in field


def test_terms_are_finite(name, task, plan):
    batch = sampler(plan).batch(0, CPU)
    terms, _ = terms_of(name, task, plan, batch)
    assert "supervised" in terms
    assert all(torch.isfinite(term) for term in terms.values())
    assert float(terms["supervised"].detach()) > 0


def test_works_without_unlabelled_crops(name, task, plan):
    alone = plan.model_copy(update={"unlabelled_batch": 0})
    batch = sampler(alone, unlabelled=False).batch(0, CPU)
    assert batch.image.shape[0] == 2
    terms, _ = terms_of(name, task, alone, batch)
    assert all(torch.isfinite(term) for term in terms.values())


def test_nothing_annotated_gives_zero_not_nan(name, task, plan):
    batch = sampler(plan).batch(0, CPU)
    blank = dataclasses.replace(batch, valid=torch.zeros_like(batch.valid))
    terms, _ = terms_of(name, task, plan, blank)
    assert float(terms["supervised"].detach()) == 0
    assert all(torch.isfinite(term) for term in terms.values())


def test_only_annotated_voxels_are_labels(name, task, plan):
    """Changing targets where nobody has looked changes no labelled term."""
    batch = sampler(plan, known=slice(10, 13)).batch(0, CPU)
    assert 0 < batch.valid.float().mean() < 0.5
    other = torch.where(batch.valid, batch.target, 2 - batch.target)
    torch.manual_seed(0)
    first, _ = terms_of(name, task, plan, batch)
    torch.manual_seed(0)
    second, _ = terms_of(name, task, plan, dataclasses.replace(batch, target=other))
    assert {key: value.item() for key, value in first.items()} == {
        key: value.item() for key, value in second.items()
    }


def test_every_term_moves_a_student_and_no_teacher(name, task, plan):
    batch = sampler(plan).batch(0, CPU)
    terms, nets = terms_of(name, task, plan, batch)
    weights = [p for net in nets.students.values() for p in net.parameters()]
    for key, term in terms.items():
        gradients = torch.autograd.grad(
            term, weights, retain_graph=True, allow_unused=True
        )
        size = sum(float(g.abs().sum()) for g in gradients if g is not None)
        assert size > 0, key
    for teacher in nets.teachers.values():
        assert not any(p.requires_grad for p in teacher.parameters())


def test_the_gradient_of_unlabelled_crops_is_measured(name, task, plan, tmp_path):
    """The ratio is printed: far below 0.1 it is inert, far above 1 it drowns labels."""
    learner = build(name, task)
    made = Trainer(learner, sampler(plan), plan, 3, CPU)
    decided(made.networks)
    made.step = plan.steps - 1
    list(made.run(tmp_path / "last.pt", every_seconds=1e9, stop=lambda: False))
    ratio = made.state().gradient_ratio
    print(f"{name}: unlabelled / labelled gradient {ratio}")  # noqa: T201
    learns = registry.METHODS.find(name).unlabelled > 0
    assert (ratio is not None and ratio > 0) == learns


@pytest.mark.parametrize("step", [0, 10])
def test_unlabelled_crops_take_part_where_the_method_says_so(name, task, plan, step):
    """Some term must send a gradient through the unlabelled crops alone.

    By what a method says is measured how many steps its minutes hold.
    """
    batch, t = sampler(plan).batch(0, CPU), plugin.Progress(step, 10)
    image = batch.image.clone().requires_grad_()
    learner = build(name, task)
    nets = decided(trainer(name, task, plan).networks)
    terms = learner.terms(nets, dataclasses.replace(batch, image=image), t)
    (gradient,) = torch.autograd.grad(sum(terms.values()), image)
    moved = bool(gradient[batch.labelled :].abs().sum() > 0)
    assert moved is (learner.unlabelled > 0 and learner.takes_unlabelled(t))


def test_teachers_stay_between_their_past_and_the_student(name, task, plan):
    """Those whose turn it is move, weights and statistics; the others do not."""
    made = trainer(name, task, plan)
    for _ in range(3):
        made._advance(12)
    past = {
        key: {name: value.clone() for name, value in net.state_dict().items()}
        for key, net in made.networks.teachers.items()
    }
    turn = made._method.followers(plugin.Progress(made.step, 12))
    assert turn
    made._method.clock_moves = lambda *_: None  # may move a network after its average
    made._advance(12)
    for key, net in made.networks.teachers.items():
        student = made.networks.students[made._method.teachers()[key]].state_dict()
        changed = []
        for weight, now in net.state_dict().items():
            if not now.is_floating_point():
                continue
            before, then = past[key][weight], student[weight]
            low, high = torch.minimum(before, then), torch.maximum(before, then)
            assert ((now >= low - 1e-5) & (now <= high + 1e-5)).all()
            changed.append(not torch.equal(now, before))
        assert any(changed) is (key in turn)


def test_cancel_and_resume_is_bit_exact(name, task, plan, tmp_path):
    short = plan.model_copy(update={"steps": 6})
    whole = trainer(name, task, short)
    list(whole.run(tmp_path / "whole" / "last.pt", every_seconds=9, stop=lambda: False))
    first = trainer(name, task, short)
    stop = iter([False] * 2 + [True] * 9)
    list(
        first.run(
            tmp_path / "part" / "last.pt", every_seconds=9, stop=lambda: next(stop)
        )
    )
    assert first.step == 2
    second = trainer(name, task, short)
    second.restore(type(first.state()).load(tmp_path / "part" / "last.pt"))
    list(second.run(tmp_path / "part" / "last.pt", every_seconds=9, stop=lambda: False))
    assert second.step == whole.step == 6
    for part in ("students", "teachers", "critics"):
        for key, net in getattr(whole.networks, part).items():
            other = getattr(second.networks, part)[key].state_dict()
            for weight, value in net.state_dict().items():
                assert torch.equal(value, other[weight]), (part, key, weight)


def test_inference_is_a_distribution_with_bounded_gap(name, task, plan):
    learner = build(name, task)
    made = trainer(name, task, plan)
    with torch.inference_mode():
        said = learner.infer(made.networks.teachers, torch.randn(1, 1, 16, 16, 16))
    assert torch.allclose(said.probabilities.sum(1), torch.ones(1, 16, 16, 16))
    assert said.distance.abs().max() <= 1
    assert said.gap.shape == (1, 1, 16, 16, 16)
    assert said.gap.min() >= 0
    assert said.gap.max() <= 1


STEPS = dict.fromkeys(
    (
        "ad_mt",
        "cgs",
        "dtml",
        "fixmatch",
        "gapmatch",
        "mc_net_plus",
        "multi_view",
        "supervised",
        "tcsm",
        "ug_mcl",
        "urpc",
    ),
    130,
)
"""After 80 steps it depends on the processor's rounding whether these are there; after
so many the lowest Dice of four seeds is 0.87 and more."""


@pytest.mark.slow
def test_learns_two_classes(name, task, plan):
    """V-Nets learn from small crops and are tried on whole volumes, to save time.

    Supervoxels need room, and time after them.
    """
    crop, window, steps = plan.patch_zyx, plan.patch_zyx, 70
    if name == "prototype_few_shot":
        steps = 300
    elif task.architecture == DEFAULT_ARCHITECTURE:
        crop, window, steps = (12, 12, 12), SHAPE, STEPS.get(name, 80)
    plan = plan.model_copy(update={"steps": steps, "width": 8, "patch_zyx": crop})
    made = trainer(name, dataclasses.replace(task, width=8), plan)
    for _ in range(steps):
        made._advance(steps)
    wide = plan.model_copy(update={"patch_zyx": window})
    predictor = Predictor(made._method, made.networks.teachers, wide, CPU)
    for seed in (7, 8):
        truth = prepared(seed)
        maps = predictor.maps(truth.image.astype("float32"))
        said = maps.probabilities.argmax(0).numpy()
        for index in (1, 2):
            mine, theirs = said == index, truth.target == index
            assert 2 * (mine & theirs).sum() / (mine.sum() + theirs.sum()) > 0.8


def test_unknown_method_and_parameter_are_named():
    with pytest.raises(ConfigError, match="expected a training method out of"):
        registry.METHODS.find("vnet")
    with pytest.raises(ConfigError, match="ema_decay"):
        registry.check_params(registry.METHODS.find("supervised"), {"emma": 1})
    with pytest.raises(ConfigError, match="ema_decay"):
        registry.check_params(registry.METHODS.find("supervised"), {"ema_decay": 2.0})


def test_two_methods_of_one_name_are_refused():
    class Twin(registry.METHODS.find("supervised")):
        pass

    with pytest.raises(
        ConfigError, match="one training method called 'supervised', found two"
    ):
        plugin.register(Twin)
