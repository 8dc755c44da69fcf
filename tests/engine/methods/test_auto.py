"""The default method: what it adds to labels, when, and where it adds nothing."""

from __future__ import annotations

import pytest

from engine.methods.test_methods import CPU, sampler, terms_of, trainer
from napari_semiseg.engine.methods import base as plugin
from napari_semiseg.engine.methods import registry
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


def test_unlabelled_crops_wait_until_labelled_cases_have_been_seen_often(task, plan):
    learner = registry.build("auto", {"begin": 0.5, "views": 100}, task)
    early, rare, late = (
        plugin.Progress(49, 100, 200.0),
        plugin.Progress(99, 100, 99.0),
        plugin.Progress(50, 100, 100.0),
    )
    assert [learner.takes_unlabelled(t) for t in (early, rare, late)] == [
        False,
        False,
        True,
    ]


def test_nothing_is_spent_on_unlabelled_crops_before(task, plan):
    """Two labelled cases, two crops a step: each is seen once in every step."""
    learner = registry.build("auto", {"begin": 0.0, "views": 3}, task)
    drawn = sampler(plan)
    made = Trainer(learner, drawn, plan, 0, CPU)
    asked = []
    batch = drawn.batch

    def counted(step, device, **options):
        found = batch(step, device, **options)
        asked.append(len(found.image))
        return found

    drawn.batch = counted
    for _ in range(5):
        made._advance(5)
    assert asked == [2, 2, 2, 4, 4]


@pytest.mark.parametrize("paste", ["both", "into", "none"])
def test_a_box_of_a_labelled_crop_is_in_the_unlabelled_one(task, plan, paste):
    single = plan.model_copy(update={"unlabelled_batch": 1})
    batch = sampler(single).batch(0, CPU)
    learner = registry.build("auto", {"paste": paste}, task)
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
