"""Trainings that begin with the weights of an earlier one."""

from __future__ import annotations

import json

import pytest
import torch

from engine.volumes import prepared
from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.data.sampler import Sampler, Streams
from napari_semiseg.engine.methods import registry
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.engine.training.trainer import Trainer
from napari_semiseg.errors import ConfigError, ProjectError

TINY = {"width": 4, "patch_zyx": (16, 16, 16), "precision": "fp32"}
CPU = torch.device("cpu")


def config(**values):
    return TrainingConfig.build(**{"method": "supervised", "steps": 6} | TINY | values)


def trained(project, **values):
    list(engine.train(project, config(**values)))
    return project.latest_run()


def trainer(name, task, plan, seed=0):
    streams = Streams((prepared(0), prepared(1)), (prepared(2, labelled=False),))
    learner = registry.build(name, {}, task)
    return Trainer(learner, Sampler(streams, plan, seed), plan, seed, CPU)


@pytest.mark.parametrize("name", ["ug_mcl", "ad_mt", "sassnet"])
def test_weights_are_shrunk_and_perturbed(name, task, plan, tmp_path):
    before = trainer(name, task, plan)
    list(
        before.run(tmp_path / "last.pt", every_seconds=99, stop=lambda: before.step > 1)
    )
    earlier = before.state()
    fresh = trainer(name, task, plan, seed=5).state()
    begun = trainer(name, task, plan, seed=5)
    begun.warm_start(earlier, config(start_from="x", shrink=0.5, perturb=0.25))
    for net, values in begun.state().students.items():
        old, new = earlier.students[net], fresh.students[net]
        for key in (key for key in values if key.endswith("weight")):
            expected = 0.5 * old[key] + 0.25 * new[key]
            if values[key].ndim == 1:  # scales of a normalisation
                expected = old[key]
            assert torch.allclose(values[key], expected)
    for teacher, student in registry.build(name, {}, task).teachers().items():
        mine = begun.networks.teachers[teacher].state_dict()
        theirs = begun.networks.students[student].state_dict()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_without_noise_a_shrunk_network_normalises_as_before(task, plan, tmp_path):
    """All that shrinks is how sure the heads are."""
    before = trainer("supervised", task, plan)
    list(
        before.run(tmp_path / "last.pt", every_seconds=99, stop=lambda: before.step > 3)
    )
    begun = trainer("supervised", task, plan, seed=1)
    begun.warm_start(before.state(), config(start_from="x", shrink=0.5, perturb=0))
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        old, new = (
            one.networks.students["student"].eval()(image).logits
            for one in (before, begun)
        )
    assert torch.allclose(new, 0.5 * old, atol=0.02 * float(old.abs().max()))


def test_the_next_round_goes_on_from_the_last_model(ball_project, spheres):
    first = trained(ball_project, steps=30)
    ball_project.set_label("case_2", spheres.masks / "case_2.nii.gz")
    settings = config(start_from=first.id, width=None, patch_zyx=None, steps=12)
    events = list(engine.train(ball_project, settings))
    second = ball_project.latest_run()
    assert events[0].source == first.id
    assert events[-1].reason == "completed"
    assert second.plan.width == 4
    assert second.plan.strides == first.plan.strides
    saved = Checkpoint.load(second.folder.last)
    assert saved.schedule[0]["fresh"] == ["case_2"]
    scratch = list(engine.train(ball_project, config(steps=12)))
    assert scratch[0].source is None
    assert (
        Checkpoint.load(ball_project.latest_run().folder.last).schedule[0]["fresh"]
        == []
    )
    losses = [
        next(event for event in told if event.type == "stepped").losses["supervised"]
        for told in (events, scratch)
    ]
    assert losses[0] < losses[1]


def test_a_training_that_was_never_saved_begins_with_the_same_weights(ball_project):
    first = trained(ball_project)
    settings = config(start_from=first.id)
    whole = trained(ball_project, start_from=first.id)
    for event in engine.train(ball_project, settings):
        if event.type == "planned":
            run = ball_project.latest_run()
            break
    assert not run.has_model
    list(engine.resume(ball_project, run))
    one, two = (
        Checkpoint.load(item.folder.last).students["student"] for item in (whole, run)
    )
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_networks_that_do_not_fit_are_refused_with_what_differs(ball_project):
    first = trained(ball_project)
    runs = len(ball_project.runs())
    for values, words in (
        ({"method": "dtml"}, "expected the method dtml, found supervised"),
        ({"width": 8}, "expected networks of width 8, found 4"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            list(engine.train(ball_project, config(start_from=first.id, **values)))
        assert "train from scratch" in str(caught.value)
    with pytest.raises(ProjectError, match="expected a run of the project"):
        list(engine.train(ball_project, config(start_from="ghost")))
    plan = json.loads(first.folder.plan.read_text())
    assert plan["classes"] == [1]
    first.folder.plan.write_text(json.dumps(plan | {"classes": [1, 2]}))
    with pytest.raises(ConfigError, match="the classes 1 of the project, found 1, 2"):
        list(engine.train(ball_project, config(start_from=first.id)))
    with pytest.raises(ProjectError, match="train a new model"):
        list(engine.resume(ball_project, first, steps=9))
    assert len(ball_project.runs()) == runs
    first.folder.plan.write_text(json.dumps(plan | {"strides": [[2, 2, 2]] * 4}))
    with pytest.raises(ConfigError, match=r"multiple of its strides \(16, 16"):
        list(
            engine.train(ball_project, config(start_from=first.id, patch_zyx=(24,) * 3))
        )
