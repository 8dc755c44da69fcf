"""The default method: what it adds to labels, when, and where it adds nothing."""

from __future__ import annotations

import pytest
import torch

from engine.methods.test_methods import CPU, sampler, terms_of, trainer
from napari_semiseg.engine.methods import auto as automatic
from napari_semiseg.engine.methods import base as plugin
from napari_semiseg.engine.methods import registry
from napari_semiseg.engine.methods.perturbations import overlap
from napari_semiseg.engine.training.trainer import Trainer

LABELLED = {"supervised", "distance_mask", "distance"}
PSEUDO = {"pseudo_labels", "pseudo_distance"}


def test_the_first_part_is_supervised_and_costs_no_unlabelled_crop(task, plan):
    batch = sampler(plan).batch(0, CPU)
    early, _ = terms_of("auto", task, plan, batch, step=4)
    reference, _ = terms_of("supervised", task, plan, batch, step=4)
    assert {key: value.item() for key, value in early.items()} == {
        key: value.item() for key, value in reference.items()
    }
    late, _ = terms_of("auto", task, plan, batch, step=5)
    assert set(late) == LABELLED | PSEUDO


@pytest.mark.parametrize(("total", "first"), [(450, 225), (2998, 1499)])
@pytest.mark.parametrize("ratio", [None, 1.0, 1.24, 1.26])
def test_pseudo_labels_begin_at_half_of_a_training_unless_networks_are_as_sure(
    task, total, first, ratio
):
    """Before anything is measured, as in a plan, they may."""
    learner = registry.build("auto", {}, task)
    steps = [plugin.Progress(step, total, ratio) for step in range(total)]
    used = [t.step for t in steps if learner.takes_unlabelled(t)]
    unsure = ratio is None or ratio > 1.25
    assert used == (list(range(first, total)) if unsure else [])
    assert {learner.borrows_unlabelled_greys(t) for t in steps} == {ratio == 1.26}
    asking = [t.step for t in steps if learner.weighs_entropy(t)]
    assert asking == [t.step for t in steps if t.step not in set(used)]


def test_a_long_training_uses_them_however_sure_it_is(task):
    learner = registry.build("auto", {}, task)
    taking = [
        learner.takes_unlabelled(plugin.Progress(at, 3000, 1.0)) for at in (1499, 1500)
    ]
    assert taking == [False, True]
    assert not learner.borrows_unlabelled_greys(plugin.Progress(1500, 3000, 1.0))


def test_a_training_that_never_uses_them_measures_nothing(task):
    learner = registry.build("auto", {"begin": 1.0}, task)
    assert not learner.weighs_entropy(plugin.Progress(0, 10))


def test_runs_of_earlier_versions_may_name_how_often_labels_were_seen(task):
    learner = registry.build("auto", {"begin": 0.25, "views": 500.0}, task)
    assert learner.params.begin == 0.25
    assert not hasattr(learner.params, "views")


def test_whole_labels_and_no_unlabelled_case_is_supervised_to_the_end(task, plan):
    alone = plan.model_copy(update={"unlabelled_batch": 0})
    batch = sampler(alone, unlabelled=False).batch(0, CPU)
    terms, _ = terms_of("auto", task, alone, batch)
    assert set(terms) == LABELLED


def test_what_is_not_annotated_of_a_labelled_crop_is_guessed(task, plan):
    """With no unlabelled case, the rest of a partly annotated volume teaches."""
    alone = plan.model_copy(update={"unlabelled_batch": 0})
    batch = sampler(alone, unlabelled=False, known=slice(10, 13)).batch(0, CPU)
    terms, _ = terms_of("auto", task, alone, batch)
    assert set(terms) == LABELLED | PSEUDO
    assert float(terms["pseudo_labels"].detach()) > 0


def test_the_overlap_of_two_heads_is_that_of_their_structures():
    one, other = torch.zeros(2, 1, 3, 2, 2, 2)
    one[:, 1], other[:, 1, 0] = 1.0, 1.0
    other[:, 0, 1] = 1.0
    assert float(overlap(one, one)) == pytest.approx(1.0)
    assert float(overlap(one, other)) == pytest.approx((2 * 4 + 1) / (8 + 4 + 1))
    empty = torch.nn.functional.one_hot(torch.zeros(1, 2, 2, 2).long(), 3)
    assert float(overlap(*[empty.movedim(-1, 1)] * 2)) == pytest.approx(1.0)


def test_guesses_weigh_less_where_the_heads_do_not_agree(task, plan, monkeypatch):
    batch = sampler(plan).batch(0, CPU)
    weights = []
    for agreement in (1.0, 0.5, 0.0):
        monkeypatch.setattr(automatic, "overlap", lambda *_, found=agreement: found)
        torch.manual_seed(0)
        terms, _ = terms_of("auto", task, plan, batch)
        weights.append(float(terms["pseudo_labels"].detach()))
    assert weights[0] > 0
    assert weights[1:] == pytest.approx([weights[0] / 4, 0])


def test_nothing_is_spent_on_unlabelled_crops_before(task, plan):
    learner = registry.build("auto", {"begin": 0.6, "least_entropy_ratio": 0}, task)
    drawn = sampler(plan)
    made = Trainer(learner, drawn, plan, 0, CPU)
    asked = []
    batch = drawn.batch

    def counted(step, device, **options):
        found = batch(step, device, **options)
        asked.append(len(found.image))
        return found

    drawn.batch = counted
    for _ in range(20):
        made._advance(20)
    measured = {4, 5, 8, 9}
    assert asked == [4 if at in measured or at >= 12 else 2 for at in range(20)]
    assert made.entropy_ratio is not None


@pytest.mark.parametrize("paste", ["both", "into", "none"])
def test_a_box_of_a_labelled_crop_is_in_the_unlabelled_one(task, plan, paste):
    single = plan.model_copy(update={"unlabelled_batch": 1})
    batch = sampler(single).batch(0, CPU)
    learner = registry.build("auto", {"paste": paste, "least_entropy_ratio": 0}, task)
    nets = trainer("auto", task, single).networks
    seen = []
    nets.students["student"].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    learner.loss(nets, batch, plugin.Progress(10, 10))
    (image,) = seen
    assert len(image) == len(batch.image) == 3
    kept = image[0] == batch.image[0]
    assert bool(kept.all()) is (paste != "both")
    assert kept.float().mean() > 0
    pasted = (image[2] == batch.image[0]).float().mean()
    assert float(pasted) == pytest.approx(0 if paste == "none" else 0.125, abs=0.01)
