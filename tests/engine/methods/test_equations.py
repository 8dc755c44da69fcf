"""What single methods promise beyond the contract that all of them keep."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from engine.methods.test_methods import CPU, decided, sampler, terms_of, trainer
from engine.volumes import prepared
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.data.sampler import Sampler, Streams
from napari_semiseg.engine.methods import base as plugin
from napari_semiseg.engine.methods import (
    deep_co_training,
    fixmatch,
    gapmatch,
    registry,
    self_training,
    size_constraint,
    temporal_ensembling,
)
from napari_semiseg.engine.methods.cgs import claimed
from napari_semiseg.engine.methods.losses import one_hot
from napari_semiseg.engine.methods.perturbations import (
    swap_low_frequencies,
    weak_to_strong,
)
from napari_semiseg.engine.methods.prototype_few_shot import (
    against_background,
    supervoxels,
)
from napari_semiseg.engine.methods.prototypes import (
    balanced_assignment,
    class_means,
    similarity,
)
from napari_semiseg.engine.methods.self_training import owner
from napari_semiseg.engine.methods.sgtc import in_slices_across
from napari_semiseg.engine.training.trainer import Trainer
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


@pytest.mark.parametrize(
    ("distances", "terms", "regresses"),
    [
        ("mask", {"supervised", "distance_mask"}, False),
        ("regression", {"supervised", "distance"}, True),
        ("both", {"supervised", "distance_mask", "distance"}, True),
    ],
)
def test_what_the_distance_network_of_dtml_learns(
    task, plan, distances, terms, regresses
):
    learner = registry.build("dtml", {"distances": distances}, task)
    nets = trainer("dtml", task, plan).networks
    found = learner.loss(nets, sampler(plan).batch(0, CPU), plugin.Progress(1, 2))
    assert set(found) == terms | {"mutual_segmentation", "mutual_distance"}
    assert learner.regresses is regresses


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("cps", 2),
        ("cross_teaching", 2),
        ("multi_view", 3),
        ("deep_co_training", 2),
        ("mc_net_plus", 3),
        ("cct", 4),
    ],
)
def test_every_network_and_decoder_learns_at_full_weight(
    task, plan, monkeypatch, name, count
):
    """A mean would train each of them at a fraction of the learning rate."""
    kind = registry.METHODS.find(name)
    one = {"supervised": torch.ones(())}
    monkeypatch.setattr(kind, "labelled", lambda *_: one)
    terms, _ = terms_of(name, task, plan, sampler(plan).batch(0, CPU))
    assert float(terms["supervised"]) == count


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


def learned_critic(name, task, plan, steps, **params):
    """What a critic that labels teach says after some steps, and the last batch."""
    learner = registry.build(name, params, task)
    made = Trainer(learner, sampler(plan), plan, 3, CPU)
    (critic,) = made.networks.critics.values()
    optimiser = made._of_critics["critics"]
    for step in range(steps):
        batch = made._batches.batch(step, CPU)
        optimiser.zero_grad()
        learner.critic_loss(made.networks, batch).backward()
        optimiser.step()
    return learner, made.networks, critic, batch


def test_a_size_beyond_what_the_regressor_expects_costs_in_proportion(
    task, plan, monkeypatch
):
    learner, nets, critic, batch = learned_critic("size_constraint", task, plan, 60)
    free = batch.image[batch.unlabelled]
    expected = torch.sigmoid(critic(free)).detach()
    assert ((expected > 0.005) & (expected < 0.3)).all()
    sizes = iter([expected, 1.09 * expected, 2.0 * expected])
    monkeypatch.setattr(size_constraint, "_share", lambda *_: next(sizes))
    terms = [learner.loss(nets, batch, plugin.Progress(10, 10)) for _ in range(3)]
    right, near, twice = (float(each["size"].detach()) for each in terms)
    assert right == near == 0.0
    weight = learner.params.consistency_weight
    assert twice == pytest.approx(weight * 2 * (0.9 / 2) ** 2, rel=1e-3)


def test_the_shape_prior_mends_corrupted_labels(task, plan):
    _, _, prior, batch = learned_critic("shape_prior", task, plan, 150)
    label = batch.target
    torch.manual_seed(0)
    spots = torch.rand(label.shape) < 0.2
    noisy = torch.where(spots, torch.randint_like(label, 3), label)
    mended = prior(one_hot(noisy, 3)).argmax(dim=1)
    assert (mended != label)[batch.valid].sum() < 0.5 * (noisy != label).sum()


def test_the_critic_of_asdnet_trusts_labels_and_not_noise(task, plan):
    _, _, critic, batch = learned_critic("asdnet", task, plan, 60)
    label = one_hot(batch.target, 3)
    noise = torch.softmax(torch.randn_like(label), dim=1)
    assert critic(label).mean() > critic(noise).mean() + 0.5


def test_networks_of_different_kinds_teach_and_the_first_predicts(task, plan):
    nets = trainer("cross_teaching", task, plan).networks
    first, partner = (type(net.encoder) for net in nets.students.values())
    assert first is not partner
    learner, image = (
        registry.build("cross_teaching", {}, task),
        torch.randn(1, 1, *[16] * 3),
    )
    alone = {"first": nets.teachers["first"]}
    with torch.inference_mode():
        said = learner.infer(nets.teachers, image).probabilities
        assert torch.equal(said, learner.infer(alone, image).probabilities)
    with pytest.raises(ConfigError, match="an architecture out of"):
        registry.build("cross_teaching", {"partner": "net"}, task)


def test_each_network_of_multi_view_keeps_another_axis_fine(task, plan):
    nets = trainer("multi_view", task, plan).networks.students
    sizes = {
        name: tuple(net.encoder(torch.randn(1, 1, 16, 16, 16))[1].shape[2:])
        for name, net in nets.items()
    }
    assert sizes == {"z": (16, 8, 8), "y": (8, 16, 8), "x": (8, 8, 16)}


def test_a_soft_label_is_no_squared_difference(task, plan):
    batch, found = sampler(plan).batch(0, CPU), []
    nets = trainer("mean_teacher", task, plan).networks
    for soft in (False, True):
        learner = registry.build("mean_teacher", {"soft_labels": soft}, task)
        torch.manual_seed(0)
        terms = learner.loss(nets, batch, plugin.Progress(10, 10))
        found.append(float(terms["consistency"].detach()))
    assert 0 < found[0] < found[1]


def test_strong_views_are_no_stronger_than_labels_bear(task, plan, monkeypatch):
    """The table learns the Dice of each strength; weak ones are left out."""
    learner = registry.build("fixmatch", {"view": "adaptive"}, task)
    made, given = Trainer(learner, sampler(plan), plan, 3, CPU), []
    monkeypatch.setattr(fixmatch, "weak_to_strong", lambda *view: given.append(view[2]))
    monkeypatch.setattr(fixmatch, "forward", lambda *_: None)
    monkeypatch.setattr(fixmatch, "segmentation", lambda _: None)
    monkeypatch.setattr(
        fixmatch, "soft_dice", lambda *_: torch.tensor(0.9 if given[-1] > 0.9 else 0.1)
    )
    batch, optimiser = made._batches.batch(0, CPU), made._of_critics["critics"]
    for _ in range(600):
        optimiser.zero_grad()
        learner.critic_loss(made.networks, batch).backward()
        optimiser.step()
    table = next(made.networks.critics["strengths"].parameters()).detach()[:, 0]
    assert (table[:3] - 0.9).abs().max() < 0.15
    assert (table[3:] - 0.1).abs().max() < 0.15
    drawn = {learner._strength(made.networks) for _ in range(40)}
    assert drawn == set(fixmatch.STRENGTHS[:3])


def test_a_strength_of_0_changes_nothing_and_more_changes_more():
    image, where = torch.randn(2, 1, 8, 8, 8), torch.ones(2, 1, 8, 8, 8).bool()
    changes = []
    for strength in (0.0, 0.25, 1.5):
        torch.manual_seed(0)
        changes.append(float((weak_to_strong(image, where, strength) - image).std()))
    assert changes[0] < 1e-6 < changes[1] < changes[2]


def test_pseudo_labels_without_a_threshold_count_everywhere(task, plan):
    batch = sampler(plan).batch(0, CPU)
    nets = trainer("fixmatch", task, plan).networks
    for threshold, counts in ((0.99, False), (0.0, True)):
        learner = registry.build("fixmatch", {"threshold": threshold}, task)
        terms = learner.loss(nets, batch, plugin.Progress(10, 10))
        assert (float(terms["pseudo_labels"].detach()) > 0) is counts


def test_low_frequencies_are_those_of_the_other_crop_and_edges_stay():
    torch.manual_seed(0)
    fine = torch.randn(1, 1, 16, 16, 16)
    fine = fine - torch.nn.functional.avg_pool3d(fine, 5, 1, 2)
    mine, other = fine + 1.0, 0.1 * fine + 5.0
    swapped = swap_low_frequencies(mine, other, 0.1)
    assert float(swapped.mean()) == pytest.approx(float(other.mean()), abs=1e-4)
    both = torch.stack([(swapped - swapped.mean()).flatten(), fine.flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.95


def test_prototypes_are_mean_features_and_only_of_the_classes_there_are():
    features = torch.randn(2, 4, 3, 3, 3)
    label = torch.zeros(2, 3, 3, 3, dtype=torch.long)
    label[0, 0] = 2
    points, known = class_means(features, one_hot(label, 4))
    assert known.tolist() == [True, False, True, False]
    assert torch.allclose(points[2], features[0, :, 0].mean(dim=(1, 2)), atol=1e-6)
    scores = similarity(features, points, known)
    assert (scores[:, [1, 3]] < -1e3).all()
    assert scores[:, [0, 2]].abs().max() <= 1.0001


def test_clusters_are_of_one_size():
    torch.manual_seed(0)
    shares = balanced_assignment(20 * torch.rand(60, 3) + torch.tensor([9.0, 0, 0]), 9)
    assert torch.allclose(shares.sum(dim=1), torch.ones(60))
    assert torch.allclose(shares.sum(dim=0), torch.full((3,), 20.0), atol=1.0)


def test_the_worse_weights_of_gapmatch_are_a_step_uphill(task, plan, monkeypatch):
    batch, found = sampler(plan).batch(0, CPU), []
    nets = decided(trainer("gapmatch", task, plan).networks)
    plain = gapmatch.cross_entropy
    monkeypatch.setattr(
        gapmatch,
        "cross_entropy",
        lambda *given: found.append(plain(*given)) or found[-1],
    )
    learner = registry.build("gapmatch", {"radius": 0.5}, task)
    before = [weight.clone() for weight in nets.students["student"].parameters()]
    learner.loss(nets, batch, plugin.Progress(10, 10))
    easy, hard = (float(term.detach()) for term in found)
    assert hard > easy > 0
    for weight, was in zip(nets.students["student"].parameters(), before, strict=True):
        assert torch.equal(weight, was)


def test_a_voxel_that_two_specialists_claim_has_no_label():
    scores = torch.full((1, 4, 1, 1, 4), -9.0)
    scores[0, 1, 0, 0, 1] = scores[0, 2, 0, 0, 2] = scores[0, 3, 0, 0, 2] = 9.0
    scores[0, 3, 0, 0, 3] = 0.5
    label, counts = claimed(scores, 0.95)
    assert label.flatten().tolist()[:2] == [0, 1]
    assert counts.flatten().tolist() == [True, True, False, False]


def test_the_second_decoder_of_skcdf_is_drawn_to_the_first(task, plan):
    learner = registry.build("skcdf", {}, task)
    nets = trainer("skcdf", task, plan).networks
    student = nets.students["student"]

    def distance():
        pairs = zip(student.decoder_weights(0), student.decoder_weights(1), strict=True)
        return float(sum((a - b).square().sum() for a, b in pairs)) ** 0.5

    before, first = distance(), [w.clone() for w in student.decoder_weights(0)]
    learner.clock_moves(nets, plugin.Progress(1, 3), plugin.Progress(2, 3))
    assert distance() == pytest.approx(0.99 * before, rel=1e-4)
    assert all(map(torch.equal, first, student.decoder_weights(0)))


def test_pseudo_labels_do_not_move_the_decoder_of_skcdf_that_predicts(task, plan):
    terms, nets = terms_of("skcdf", task, plan, sampler(plan).batch(0, CPU))
    student = nets.students["student"]
    for decoder, moves in ((0, False), (1, True)):
        slopes = torch.autograd.grad(
            terms["pseudo_labels"],
            student.decoder_weights(decoder),
            retain_graph=True,
            allow_unused=True,
        )
        assert any(slope is not None for slope in slopes) is moves


def test_slices_are_told_apart_by_their_orientation(plan):
    """Also in crops that are turned: of an axial and a sagittal slice of the scan."""
    case = prepared(0)
    target = np.full_like(case.target, 255)
    target[12], target[:, :, 11] = case.target[12], case.target[:, :, 11]
    arrays = {**case.arrays, "target": target, "high": case.arrays["low"]}
    streams = Streams((dataclasses.replace(case, arrays=arrays),), ())
    sampler = Sampler(streams, plan, seed=0)
    batches = [sampler.batch(step, CPU) for step in range(6)]
    both = [
        (axial, sagittal, valid)
        for batch in batches
        for axial, sagittal, valid in zip(
            in_slices_across(batch, 0),
            in_slices_across(batch, 2),
            batch.valid,
            strict=True,
        )
        if not torch.equal(axial, sagittal)
    ]
    assert len(both) > 6
    for axial, sagittal, valid in both:
        assert torch.equal(axial | sagittal, valid)
        assert (axial & sagittal).sum() < 0.3 * valid.sum()
        # A turned slice is a plane of the crop: its thinnest direction tells it.
        for mask, normal in ((axial, 0), (sagittal, 2)):
            places = mask.nonzero().float()
            _, axes = torch.linalg.eigh(torch.cov(places.T))
            assert int(axes[:, 0].abs().argmax()) == normal


def test_without_whole_slices_a_network_learns_from_all_there_is(plan):
    batch = sampler(plan).batch(0, CPU)
    assert (batch.planes[batch.valid] == 7).all()
    none = dataclasses.replace(batch, planes=torch.zeros_like(batch.planes))
    for axis in range(3):
        assert torch.equal(in_slices_across(batch, axis), batch.valid)
        assert torch.equal(in_slices_across(none, axis), batch.valid)


def test_supervoxels_follow_what_is_seen(plan):
    batch = sampler(plan).batch(0, CPU)
    index = supervoxels(batch.image[:2], 4)
    assert 30 < len(index[0].unique()) <= 64
    spread = []
    for which in (index, index[:, :, torch.randperm(16)]):
        share = torch.nn.functional.one_hot(which[0].flatten(), 64).float()
        values = batch.image[0].flatten()
        mean = (share.T @ values) / share.sum(dim=0).clamp_min(1)
        spread.append(float((values - mean[which[0].flatten()]).var()))
    assert spread[0] < 0.8 * spread[1]


def test_a_mask_is_found_again_by_its_prototype():
    features = torch.randn(1, 6, 8, 8, 8) * 0.1
    mask = torch.zeros(1, 1, 8, 8, 8)
    mask[:, :, 2:5, 2:5, 2:5] = 1
    features = features + torch.where(mask > 0, 1.0, 0.0) * torch.eye(6)[0].view(
        1, 6, 1, 1, 1
    )
    features = features + torch.where(mask > 0, 0.0, 1.0) * torch.eye(6)[1].view(
        1, 6, 1, 1, 1
    )
    scores = against_background(features, mask, features.flip(2), 4)
    assert torch.equal(scores.argmax(dim=1), mask.flip(2)[:, 0].long())


def test_copies_label_for_a_round_and_are_then_renewed(task, plan):
    made = trainer("self_training", task, plan)
    nets, changes = made.networks, []
    before = nets.teachers["labels_member_1"].state_dict()
    before = {name: value.clone() for name, value in before.items()}
    for step in range(12):
        made._advance(12)
        now = nets.teachers["labels_member_1"].state_dict()
        if any(not torch.equal(now[name], was) for name, was in before.items()):
            changes.append(step)
            average = nets.teachers["member_1"].state_dict()
            assert all(torch.equal(now[name], average[name]) for name in now)
        before = {name: value.clone() for name, value in now.items()}
    assert changes == [4, 7, 9]  # before the steps 5, 8 and 10 of 12


@pytest.mark.parametrize("name", ["self_training", "temporal_ensembling"])
def test_a_round_that_a_shorter_training_jumps_into_has_its_copies(task, plan, name):
    """Steps are fixed anew on the way; no copy may label with its first weights."""
    made = trainer(name, task, plan)
    made.step = 2
    for network in made.networks.teachers.values():
        next(network.parameters()).data.fill_(0.0)
    for followed in made._method.followers(plugin.Progress(2, 12)):
        next(made.networks.teachers[followed].parameters()).data.fill_(1.0)
    made.replan(plan.model_copy(update={"steps": 3}))
    for network in made.networks.teachers.values():
        assert (next(network.parameters()) == 1.0).all()


def test_each_unlabelled_crop_teaches_one_member(task, plan):
    learner = registry.build("self_training", {"members": 2}, task)
    nets = decided(trainer("self_training", task, plan).networks)
    seen = []
    for name, member in nets.students.items():
        member.register_forward_pre_hook(
            lambda _, given, name=name: seen.append((name, len(given[0])))
        )
    learner.loss(nets, sampler(plan).batch(0, CPU), plugin.Progress(10, 10))
    assert seen == [("member_1", 3), ("member_2", 3)]


def test_with_halves_a_scan_is_labelled_by_those_that_never_learn_from_it(
    task, plan, monkeypatch
):
    learner = registry.build("self_training", {"members": 3, "halves": True}, task)
    nets = decided(Trainer(learner, sampler(plan), plan, 3, CPU).networks)
    labellers = [nets.teachers[f"labels_member_{name}"] for name in (1, 2, 3)]
    run, says, taught = self_training.forward, self_training.segmentation, []

    def asked(network, image):
        output = run(network, image)
        at = [index for index, one in enumerate(labellers) if one is network]
        if at:  # each labeller is sure of a class of its own
            mark = torch.eye(3)[at[0]].view(1, 3, 1, 1, 1)
            return mark.expand(len(image), 3, *image.shape[2:])
        return output

    def noted(guess, label, where):
        taught.append((len(label), label.unique().tolist()))
        return guess.mean()

    monkeypatch.setattr(self_training, "forward", asked)
    monkeypatch.setattr(
        self_training,
        "segmentation",
        lambda output: output if isinstance(output, torch.Tensor) else says(output),
    )
    monkeypatch.setattr(self_training, "cross_entropy_dice", noted)
    members = {}
    for step in range(6):
        batch = sampler(plan).batch(step, CPU)
        taught.clear()
        learner.loss(nets, batch, plugin.Progress(10, 10))
        owners = [owner(case, 3) for case in batch.cases[batch.unlabelled]]
        assert sum(count for count, _ in taught) == len(owners)
        for mine, (_, classes) in zip(sorted(set(owners)), taught, strict=True):
            assert mine not in classes
            members.setdefault(mine, set()).update(classes)
    assert len(members) > 1
    with pytest.raises(ConfigError, match="2 members or more"):
        registry.build("self_training", {"members": 1, "halves": True}, task)


def test_an_ensemble_remembers_its_last_rounds_the_newest_best(task, plan, monkeypatch):
    learner = registry.build("temporal_ensembling", {"rounds": 4, "past": 3}, task)
    nets = trainer("temporal_ensembling", task, plan).networks
    for step in range(9):
        next(nets.teachers["student"].parameters()).data.fill_(float(step))
        learner.clock_moves(
            nets, plugin.Progress(step, 12), plugin.Progress(step + 1, 12)
        )
    batch, targets = sampler(plan).batch(0, CPU), []
    maps = torch.eye(3)[[0, 0, 0, 1, 1, 1, 2, 2, 2]]

    def said(network, image):
        mark = next(network.parameters()).flatten()[0]
        kept = maps[int(mark)] if mark in (2.0, 5.0, 8.0) else maps[0]
        return kept.view(1, 3, 1, 1, 1).expand(len(image), 3, *image.shape[2:])

    monkeypatch.setattr(temporal_ensembling, "forward", said)
    monkeypatch.setattr(temporal_ensembling, "segmentation", lambda maps: maps)
    monkeypatch.setattr(learner, "labelled", lambda *_: {})
    monkeypatch.setattr(
        temporal_ensembling,
        "consistency",
        lambda _, target, __: targets.append(target) or target.mean(),
    )
    for step, weights in ((9, [0.36, 0.6, 1.0]), (3, [1.0, 0.0, 0.0])):
        learner.loss(nets, batch, plugin.Progress(step, 12))
        mean = targets[-1][0, :, 0, 0, 0]
        assert torch.allclose(mean, torch.tensor(weights) / sum(weights))
    assert not learner.takes_unlabelled(plugin.Progress(2, 12))
