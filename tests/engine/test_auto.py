"""The default method: what it adds to labels, when, and where it adds nothing."""

from __future__ import annotations

import pytest
import torch

from engine.test_methods import CPU, sampler, terms_of, trainer
from napari_semiseg.engine import method as plugin

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


@pytest.mark.parametrize("paste", ["both", "into", "none"])
def test_a_step_trains_as_many_crops_as_a_supervised_one(task, plan, paste):
    single = plan.model_copy(update={"unlabelled_batch": 1})
    batch = sampler(single).batch(0, CPU)
    learner = plugin.build("auto", {"paste": paste}, task)
    nets = trainer("auto", task, single).networks
    seen = []
    nets.students["student"].register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    learner.loss(nets, batch, plugin.Progress(10, 10))
    (image,) = seen
    assert len(image) == batch.labelled == 2
    assert torch.equal(image[0], batch.image[0]) is (paste != "both")
    assert not torch.equal(image[1], batch.image[1])
