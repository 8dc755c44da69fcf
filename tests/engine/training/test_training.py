"""From a project to a prediction, through the public verbs."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from engine.killing import kill_after
from napari_semiseg import engine
from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.planning.speed import FEW_STEPS
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.errors import ConfigError, EngineMissing, ProjectError
from napari_semiseg.imaging.distance import truncated_distance
from napari_semiseg.imaging.morphology import largest_component
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.project import Project

TINY = {"width": 4, "patch_zyx": (16, 16, 16), "precision": "fp32"}


def config(**values):
    return TrainingConfig.build(**{"method": "supervised", "steps": 6} | TINY | values)


def weights(run):
    return Checkpoint.load(run.folder.last).students


def same(first, second):
    return all(
        torch.equal(value, second[net][key])
        for net, state in first.items()
        for key, value in state.items()
    )


@pytest.mark.parametrize("method", ["supervised", "dtml", "ad_mt", "sassnet", "cct"])
def test_a_run_tells_its_story_and_predicts(ball_project, method):
    events = list(engine.train(ball_project, config(method=method)))
    run = ball_project.latest_run()
    kinds = [event.type for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert kinds.index("planned") < kinds.index("stepped") < len(kinds) - 1
    assert events[-1].reason == "completed"
    assert [event.to_line() for event in run.events()] == [
        event.to_line() for event in events
    ]
    assert run.plan.steps == 6
    assert set(run.plan.reasons) >= {"spacing_mm", "patch_zyx", "precision", "steps"}
    cases = ball_project.cases(state=CaseState.UNLABELLED)
    done = list(engine.predict_cases(ball_project, run, cases))
    assert [event.case for event in done if event.type == "predicted"] == [
        case.id for case in cases
    ]
    for case in cases:
        prediction = run.read_prediction(case.id, case.geometry)
        assert prediction.labels.shape == case.geometry.shape_zyx
        assert set(np.unique(prediction.labels)) <= {0, 1}
        assert 0 <= prediction.uncertainty.min() <= prediction.uncertainty.max() <= 1
        assert np.abs(prediction.sdm_mm).max() <= run.plan.sdm_limit_mm + 1e-3
        score = prediction.record.score
        expected = (prediction.labels == 1).sum() * case.geometry.voxel_ml
        assert score.volumes_ml["left atrium"] == pytest.approx(expected)
        inside = np.nonzero(prediction.labels == 1)
        ends = tuple((at.min(), at.max()) for at in inside) if expected else ()
        assert score.reach == ends
    assert ball_project.cases(state=CaseState.PROPOSED)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"method": "supervised"}, "'supervised' learns from labels alone"),
        (
            {"method": "auto", "params": {"begin": 1.0}},
            "not used: 'auto' would begin later than in 6 steps",
        ),
        (
            {"method": "auto", "params": {"least_entropy_ratio": 1e9}},
            "not used yet at step 5 (entropy of what is not annotated ",
        ),
        (
            {"method": "auto", "params": {"least_entropy_ratio": 0}},
            "used from step 3 of 6 on (entropy of what is not annotated ",
        ),
        ({"method": "ug_mcl"}, "used from step 2 of 6 on"),
    ],
)
def test_a_plan_says_whether_unlabelled_scans_are_used(ball_project, values, said):
    list(engine.train(ball_project, config(**values)))
    assert ball_project.latest_run().plan.reasons["unlabelled"].startswith(said)


def test_distances_are_stored_to_a_tenth_of_a_voxel(ball_project):
    """And long ones as the limit: a network's noise fills a disk and tells nothing."""
    list(engine.train(ball_project, config()))
    run = ball_project.latest_run()
    step, limit = 0.1 * min(run.plan.spacing_mm), run.plan.sdm_limit_mm
    said = engine.predict(ball_project, run, ball_project.cases()[-1]).sdm_mm
    near = said[np.abs(said) < 0.85 * limit].astype(float)
    assert near.size
    assert np.abs(near - np.round(near / step) * step).max() < 0.005
    assert set(np.abs(said[np.abs(said) > 0.95 * limit])) <= {np.float32(limit)}


def test_distances_that_no_label_taught_are_measured_on_the_mask(ball_project):
    """What is shown in mm is a length, also where only its sign was learned."""
    list(engine.train(ball_project, config(method="dtml")))
    case = ball_project.cases()[-1]
    said = engine.predict(ball_project, ball_project.latest_run(), case)
    inside = said.labels == 1
    limit = ball_project.latest_run().plan.sdm_limit_mm
    expected = truncated_distance(inside, case.geometry.spacing_mm, limit)
    assert np.allclose(said.sdm_mm[0], expected, atol=0.05)


def test_of_a_structure_that_is_one_piece_the_largest_is_predicted(
    ball_project, spheres
):
    for name in spheres.ids[:4]:
        ball_project.set_label(name, spheres.masks / f"{name}.nii.gz")
    case = ball_project.case(spheres.ids[4])
    found = []
    for single in (True, False):
        # So few steps leave a prediction full of holes and specks.
        list(engine.train(ball_project, config(steps=2, single_pieces=single)))
        run = ball_project.latest_run()
        assert run.plan.single_pieces == ((1,) if single else ())
        assert (
            "left atrium: one" in run.plan.reasons.get("single_pieces", "")
        ) is single
        found.append(engine.predict(ball_project, run, case))
    one, all_of_it = found
    inside = all_of_it.labels == 1
    largest = largest_component(inside)
    assert np.count_nonzero(largest) < np.count_nonzero(inside)
    assert np.array_equal(one.labels == 1, largest)
    assert np.array_equal(one.sdm_mm[0][~inside], all_of_it.sdm_mm[0][~inside])
    assert (one.sdm_mm[0][inside & ~largest] >= 0).all()
    assert np.array_equal(one.uncertainty, all_of_it.uncertainty)
    score = one.record.score
    volume = np.count_nonzero(largest) * case.geometry.voxel_ml
    assert score.volumes_ml["left atrium"] == pytest.approx(volume)
    assert score.reach == tuple((at.min(), at.max()) for at in np.nonzero(largest))


@pytest.mark.slow
def test_learns_the_balls(ball_project, spheres):
    list(engine.train(ball_project, config(steps=120, width=8)))
    run = ball_project.latest_run()
    for name in spheres.ids[2:]:
        case = ball_project.case(name)
        said = engine.predict(ball_project, run, case).labels == 1
        truth = read_labels(spheres.masks / f"{name}.nii.gz", case.geometry) == 1
        assert 2 * (said & truth).sum() / (said.sum() + truth.sum()) > 0.85


def test_minutes_become_steps(ball_project):
    events = list(engine.train(ball_project, config(steps=None, minutes=0.05)))
    run = ball_project.latest_run()
    assert run.plan.steps >= 20
    assert "min less" in run.plan.reasons["steps"]
    warned = [event for event in events if event.type == "warned"]
    assert bool(warned) is (run.plan.steps < FEW_STEPS)
    assert events[-1].step == run.plan.steps


def test_stop_then_resume_equals_a_run_without_a_break(ball_project):
    list(engine.train(ball_project, config(method="ug_mcl", steps=8)))
    whole = weights(ball_project.latest_run())
    training = engine.train(ball_project, config(method="ug_mcl", steps=8))
    for event in training:
        if event.type == "planned":
            run = ball_project.run(ball_project.runs()[-1].id)
            run.request_stop()
    assert run.status == "cancelled"
    assert run.steps_done < 8
    events = list(engine.resume(ball_project, run))
    assert events[-1].reason == "completed"
    assert same(whole, weights(run))


SCRIPT = """
import sys
from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.project.project import Project
project = Project.open(sys.argv[1])
config = TrainingConfig.build(
    method="dtml", steps=40, width=4, patch_zyx=(16, 16, 16), precision="fp32",
    checkpoint_seconds=0.0,
)
for event in engine.train(project, config):
    print(event.type, getattr(event, "step", ""), flush=True)
"""


def test_sigkill_then_resume_equals_a_run_without_a_break(ball_project):
    """Killed at some moments with a checkpoint at every step; no file is torn."""
    settings = config(method="dtml", steps=40, checkpoint_seconds=0.0)
    list(engine.train(ball_project, settings))
    whole = weights(ball_project.latest_run())
    for wait in (0.0, 0.5):
        kill_after("checkpointed", wait, SCRIPT, ball_project.folder)
        run = ball_project.runs()[-1]
        killed_at = Checkpoint.load(run.folder.last).step
        if killed_at < 40:
            assert run.status == "interrupted"
            events = list(engine.resume(ball_project, run))
            assert events[0].step == killed_at
            assert events[-1].reason == "completed"
        assert same(whole, weights(run))
        assert not list(run.folder.path.rglob("*tmp*"))


def test_resume_can_go_further(ball_project):
    list(engine.train(ball_project, config(steps=4)))
    run = ball_project.latest_run()
    with pytest.raises(ProjectError, match="complete"):
        list(engine.resume(ball_project, run))
    with pytest.raises(ConfigError, match="must be larger"):
        list(engine.resume(ball_project, run, steps=3))
    events = list(engine.resume(ball_project, run, steps=7))
    assert events[0].step == 4
    assert events[-1].step == 7


def test_bad_input_leaves_nothing_behind(ball_project, empty_project, spheres):
    before = sorted(ball_project.folder.rglob("*"))
    with pytest.raises(ConfigError, match="expected a training method out of"):
        list(engine.train(ball_project, config(method="vnet")))
    with pytest.raises(ConfigError, match="no parameter"):
        list(engine.train(ball_project, config(params={"emma": 1})))
    if not torch.cuda.is_available():
        with pytest.raises(EngineMissing, match="finds only"):
            list(engine.train(ball_project, config(device="cuda")))
    assert sorted(ball_project.folder.rglob("*")) == before


def test_projects_that_cannot_train_say_why(tmp_path, spheres):
    from napari_semiseg.project.project import Project

    project = Project.create(tmp_path / "bare", {"ball": 1})
    with pytest.raises(ProjectError, match="has no cases"):
        list(engine.train(project, config()))
    project.add(spheres.images)
    with pytest.raises(ProjectError, match="has a label"):
        list(engine.train(project, config()))
    name = spheres.ids[0]
    project.set_label(name, spheres.masks / f"{name}.nii.gz")
    project.set_split(name, Split.TEST)
    with pytest.raises(ProjectError, match="has a label"):
        list(engine.train(project, config()))


def test_validation_cases_only_score(ball_project, spheres):
    name = spheres.ids[2]
    ball_project.set_label(name, spheres.masks / f"{name}.nii.gz")
    ball_project.set_split(name, Split.VALIDATION)
    events = list(engine.train(ball_project, config(validate_every=3)))
    scored = [event for event in events if event.type == "validated"]
    assert [event.step for event in scored] == [3, 6]
    assert all(0 <= event.dice["left atrium"] <= 1 for event in scored)
    assert ball_project.latest_run().folder.best.exists()


def test_test_cases_are_out_of_reach(ball_project, spheres):
    """Their images are not even prepared."""
    for name in spheres.ids[3:]:
        ball_project.set_split(name, Split.TEST)
    list(engine.train(ball_project, config(method="ug_mcl")))
    cached = {path.name.split(".")[0] for path in ball_project.folder.glob("cache/*")}
    assert cached == set(spheres.ids[:3])


def test_a_class_that_nobody_painted_is_named(tmp_path, ball_project, spheres):
    project = Project.create(tmp_path / "two", labels={"ball": 1, "rim": 2})
    project.add(*(case.image for case in ball_project.cases()))
    for case in ball_project.cases(state=CaseState.LABELLED):
        project.set_label(case.id, case.read_label())
    said = [e.message for e in engine.train(project, config()) if e.type == "warned"]
    assert any("'rim'" in message and "label some" in message for message in said)
    assert not any("'ball'" in message for message in said)


@pytest.mark.parametrize("part", [False, True])
def test_a_class_smaller_than_a_working_voxel_is_named(tmp_path, spheres, part):
    """To label more of it would be no help: the voxels have to be smaller."""
    project = Project.create(tmp_path / "two", labels={"ball": 1, "dot": 2, "rim": 3})
    project.add(spheres.images)
    mask = read_labels(
        spheres.masks / "case_0.nii.gz", project.case("case_0").geometry
    ).copy()
    mask[20, 20, 20] = 2
    if part:
        mask[:5] = 255
    project.set_label("case_0", mask)
    coarse = config(spacing_mm=(4.0, 4.0, 4.0))
    said = [e.message for e in engine.train(project, coarse) if e.type == "warned"]
    assert [("dot" in one, "rim" in one, "ball" in one) for one in said] == [
        (False, True, False),
        (True, False, False),
    ]
    assert "of 4 x 4 x 4 mm" in said[1]
    mask[mask == 1] = 0
    project.set_label("case_0", mask)
    with pytest.raises(ProjectError, match="smaller ones of dot: they"):
        list(engine.train(project, coarse))


def test_damaged_image_is_left_out_with_a_warning(ball_project, spheres):
    (spheres.images / f"{spheres.ids[4]}.nii.gz").write_bytes(b"nothing")
    events = list(engine.train(ball_project, config(method="ug_mcl")))
    warnings = [event.message for event in events if event.type == "warned"]
    assert len(warnings) == 1
    assert spheres.ids[4] in warnings[0]
    assert events[-1].reason == "completed"


def test_damaged_checkpoint_is_refused_in_one_line(ball_project):
    list(engine.train(ball_project, config()))
    run = ball_project.latest_run()
    run.folder.last.write_bytes(run.folder.last.read_bytes()[:1000])
    with pytest.raises(ProjectError, match="damaged") as caught:
        engine.predict(ball_project, run, ball_project.cases()[0])
    assert "\n" not in str(caught.value)


def test_a_model_of_other_classes_is_refused(ball_project):
    """As many of other values would be predicted under wrong names."""
    list(engine.train(ball_project, config()))
    settings = ball_project.layout.project_file
    known = settings.read_text()
    assert "value = 1" in known
    more = '\n[[labels]]\nvalue = 5\nname = "rim"\ncolour = "#0072B2"\n'
    for changed in (known.replace("value = 1", "value = 2"), known + more):
        settings.write_text(changed)
        project = Project.open(ball_project.folder)
        run = project.latest_run()
        with pytest.raises(ProjectError, match=r"classes \(1,\).*train a new model"):
            engine.predict(project, run, project.cases()[2])
        with pytest.raises(ProjectError, match=r"classes \(1,\).*train a new model"):
            list(engine.resume(project, run, steps=9))


def test_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    path = tmp_path / "run" / "checkpoints" / "last.pt"
    path.parent.mkdir(parents=True)
    torch.save({"version": 1, "step": Evil()}, path)
    with pytest.raises(ProjectError, match="damaged or foreign"):
        Checkpoint.load(path)
    assert not (tmp_path / "owned").exists()
