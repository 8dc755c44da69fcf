"""What single methods promise beyond the contract that all of them keep."""

from __future__ import annotations

import pytest
import torch

from engine.methods.test_methods import CPU, sampler, terms_of, trainer
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.methods import base as plugin
from napari_semiseg.engine.methods import deep_co_training, registry
from napari_semiseg.engine.methods.perturbations import weak_to_strong
from napari_semiseg.errors import ConfigError, ProjectError


def test_an_attack_of_co_training_raises_the_loss_of_the_attacked(
    task, plan, monkeypatch
):
    """Where a network is asked about its own answer, a divergence has no slope."""
    attacks = []

    def noted(image, disagree, size):
        with torch.random.fork_rng():
            before = disagree(image)
        probe = image.clone().requires_grad_()
        (slope,) = torch.autograd.grad(disagree(probe), probe)
        attacks.append((float(before.detach()), float(slope.abs().mean())))
        return image + size * slope.sign()

    monkeypatch.setattr(deep_co_training, "adversarial", noted)
    alone = plan.model_copy(update={"unlabelled_batch": 0})
    batch = sampler(alone, unlabelled=False).batch(0, CPU)
    learner = registry.build("deep_co_training", {}, task)
    nets = trainer("deep_co_training", task, alone).networks
    for network in nets.students.values():
        network.train()
        network.encoder.dropout.p = 0.0
    learner.loss(nets, batch, plugin.Progress(10, 10))
    assert len(attacks) == 2
    for loss, slope in attacks:
        assert loss > 0.1
        assert slope * batch.image[:, 0].numel() > 1e-3


def test_copy_paste_without_unlabelled_crops_throws_no_label_away(task, plan):
    alone = plan.model_copy(update={"unlabelled_batch": 0})
    batch = sampler(alone, unlabelled=False).batch(0, CPU)
    terms, _ = terms_of("bcp", task, alone, batch)
    assert set(terms) == {"supervised", "distance_mask", "distance"}
    terms, _ = terms_of("bcp", task, plan, sampler(plan).batch(0, CPU))
    assert "pseudo_labels" in terms


def test_all_decoders_of_cross_consistency_learn_from_labels(task, plan):
    batch = sampler(plan).batch(0, CPU)
    terms, nets = terms_of("cct", task, plan, batch)
    decoders = nets.students["student"].decoders
    assert len(decoders) == 4
    for decoder in decoders:
        weight = next(iter(decoder.parameters()))
        (slope,) = torch.autograd.grad(terms["supervised"], weight, retain_graph=True)
        assert slope.abs().sum() > 0


@pytest.mark.parametrize("name", ["fixmatch", "ad_mt", "auto"])
def test_padding_stays_empty_in_strong_views(task, plan, monkeypatch, name):
    """The averaged network, which predicts, sees zeros there and its statistics."""
    seen = []
    wide = plan.model_copy(update={"patch_zyx": (32, 32, 32)})
    batch = sampler(wide).batch(0, CPU)
    assert not batch.inside.all()
    made = trainer(name, task, wide)
    made.networks.students["student"].register_forward_pre_hook(
        lambda _, given: seen.append(given[0])
    )
    learner = registry.build(name, {}, task)
    learner.loss(made.networks, batch, plugin.Progress(10, 10))
    (image,) = seen
    assert (image[:2][~batch.inside[:2]] == 0).all()
    assert (image[-1:][~batch.inside[-1:]] == 0).any()
    edge = ~(batch.inside[-1:] | batch.inside[:1] | batch.inside[1:2])
    assert edge.any()
    assert (image[-1:][edge] == 0).all()


def test_a_strong_view_changes_what_it_may_and_nothing_else():
    torch.manual_seed(0)
    image = torch.randn(2, 1, 6, 6, 6)
    where = torch.rand(2, 1, 6, 6, 6) > 0.5
    view = weak_to_strong(image, where)
    assert torch.equal(view[~where], image[~where])
    assert (view[where] != image[where]).float().mean() > 0.9


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("bcp", {"labelled_batch": 1}),
        ("ict", {"unlabelled_batch": 1}),
        ("ad_mt", {"unlabelled_batch": 1}),
    ],
)
def test_too_few_crops_for_a_method_are_refused(name, asked):
    (option,) = asked
    with pytest.raises(ConfigError, match=f"at least 2 .* {option}=1"):
        registry.check(TrainingConfig(method=name, **asked))
    registry.check(TrainingConfig(method=name, unlabelled_batch=0))


def test_a_loss_that_is_no_number_is_not_saved(task, plan, tmp_path):
    made = trainer("supervised", task, plan)
    last = tmp_path / "last.pt"
    list(made.run(last, every_seconds=9, stop=lambda: made.step >= 3))
    before = last.read_bytes()
    for weight in made.weights:
        weight.data.fill_(float("nan"))
    with pytest.raises(ProjectError, match="not a number at step 4"):
        list(made.run(last, every_seconds=0, stop=lambda: False))
    assert last.read_bytes() == before
    with pytest.raises(ProjectError, match="not a number at step 5"):
        list(made.run(last, every_seconds=9, stop=lambda: made.step >= 5))
    assert last.read_bytes() == before
