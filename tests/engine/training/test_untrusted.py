"""Masks that another program proposed, as labels that count for less and less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.training.test_live_labels import accept, config, go, same, state
from engine.volumes import prepared
from napari_semiseg import engine
from napari_semiseg.core.case import Split
from napari_semiseg.engine.data.sampler import Sampler, Streams
from napari_semiseg.io.masks import write_labels
from napari_semiseg.project.importing.propose import propose
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.predictions import proposed_mask
from synthetic import ball

STEPS = 300


def sampler(plan, share=0.6, **asked):
    labelled = tuple(prepared(i) for i in range(3))
    proposed = tuple(replace(prepared(i), proposed=True) for i in range(3, 6))
    return Sampler(Streams(labelled, (), proposed), plan, 3, untrusted=share, **asked)


def shares(drawn, plan, parts=6):
    """Part of the labelled crops that are untrusted, in each part of the steps."""
    found = [
        np.mean([case.proposed for case in drawn.picked(0, step)])
        for step in range(plan.steps)
    ]
    return np.reshape(found, (parts, -1)).mean(axis=1)


def test_untrusted_masks_are_drawn_less_and_less(plan):
    plan = plan.model_copy(update={"steps": STEPS, "labelled_batch": 8})
    found = shares(sampler(plan), plan)
    middles = (np.arange(6) + 0.5) / 6
    np.testing.assert_allclose(
        found[:4], 0.6 * (1 - 1.5 * middles[:4]), atol=0.06, rtol=0
    )
    assert found[4:].max() == 0
    assert shares(sampler(plan, share=0.0), plan).max() == 0


def test_what_is_drawn_follows_from_seed_step_and_number_of_steps(plan):
    plan = plan.model_copy(update={"steps": STEPS, "labelled_batch": 4})
    one, other = sampler(plan), sampler(plan)
    for step in (40, 3, 40):
        assert one.picked(0, step) != one.picked(0, step + 1)
        assert [case.id for case in one.picked(0, step)] == [
            case.id for case in other.picked(0, step)
        ]
    longer = plan.model_copy(update={"steps": 10 * STEPS})
    one.replan(longer)
    assert shares(one, longer)[1] > 0.3


@pytest.fixture
def make(make, tmp_path):
    """And two cases with a proposal."""

    def one(name: str) -> Project:
        project = make(name)
        masks = tmp_path / f"{name}_masks"
        masks.mkdir()
        for case in map(project.case, ("case_2", "case_3")):
            mask = case.geometry.to_canonical(ball(int(case.id[-1])))
            path = masks / f"{case.id}.nii.gz"
            write_labels(path, mask, case.geometry, case.image)
        propose(project, masks=masks)
        return project

    return one


def supervised(**values):
    return config(**{"method": "supervised", "untrusted": 1.0, "steps": 9} | values)


def test_a_proposal_is_learned_from_only_where_it_was_asked_for(make):
    project, plain = make("asked"), make("plain")
    events = list(engine.train(project, supervised()))
    list(engine.train(plain, supervised(untrusted=0.0)))
    stages = {event.stage: event.total for event in events if event.type == "staged"}
    assert stages["Preparing proposed masks"] == 2
    reasons = project.latest_run().plan.reasons
    assert reasons["untrusted"].startswith("2 proposed masks, in 100%")
    assert "untrusted" not in plain.latest_run().plan.reasons
    (values, saved), (expected, _) = map(
        state, (project.latest_run(), plain.latest_run())
    )
    assert not same(values, expected)
    assert saved.schedule[0]["roles"]["case_2"][2] is True


def test_without_proposals_the_training_says_so(ball_project):
    events = list(engine.train(ball_project, supervised()))
    (warning,) = [event.message for event in events if event.type == "warned"]
    assert "semiseg propose" in warning
    assert events[-1].reason == "completed"


def test_a_label_takes_the_place_of_a_proposal_and_a_stop_changes_nothing(
    make, spheres
):
    whole, broken = make("whole"), make("broken")

    def changes(project):
        return {
            2: lambda: accept(project, "case_2", spheres),
            6: lambda: project.set_split("case_3", Split.TEST),
        }

    def stop():
        broken.latest_run().request_stop()

    go(engine.train(whole, supervised()), changes(whole))
    left = changes(broken) | {4: stop}
    go(engine.train(broken, supervised()), left)
    run = broken.latest_run()
    assert run.steps_done == 4
    go(engine.resume(broken, run), left)
    (values, saved), (expected, other) = state(run), state(whole.latest_run())
    assert saved.schedule == other.schedule
    assert [update["fresh"] for update in saved.schedule] == [[], ["case_2"], []]
    assert saved.schedule[2]["roles"] == {"case_3": None}
    assert same(values, expected)


def test_a_mask_counts_as_proposed_until_a_person_begins_with_its_case(make, spheres):
    project = make("p")
    mask = proposed_mask(project, project.case("case_2"))
    assert mask is not None
    assert mask.exists()
    project.save_draft("case_2", np.zeros((24, 24, 24), np.uint8))
    accept(project, "case_3", spheres)
    for name in ("case_0", "case_2", "case_3", "case_4"):
        assert proposed_mask(project, project.case(name)) is None
