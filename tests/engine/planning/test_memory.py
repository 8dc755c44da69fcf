from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engine.planning.test_plan import facts
from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine import devices
from napari_semiseg.engine.data.sampler import SyntheticBatches
from napari_semiseg.engine.inference import predictor
from napari_semiseg.engine.methods import registry
from napari_semiseg.engine.out_of_memory import NO_MEMORY, NO_PRIMITIVE
from napari_semiseg.engine.planning import memory
from napari_semiseg.engine.planning.plan import with_grid
from napari_semiseg.engine.training.trainer import Trainer
from napari_semiseg.errors import ConfigError, ProjectError


def footprint(plan, task, name="supervised", edge=16, **changes):
    made = plan.model_copy(update={"patch_zyx": (edge,) * 3, **changes})
    trainer = Trainer(
        registry.build(name, {}, task),
        SyntheticBatches(made, 3),
        made,
        0,
        torch.device("cpu"),
    )
    return memory.footprint(trainer, edge**3)


def test_a_step_needs_memory_by_the_voxels_of_its_crops(plan, task):
    """What a small crop tells holds for a larger one, and for more of them."""
    small, large = (footprint(plan, task, edge=edge) for edge in (16, 32))
    assert small.per_voxel == pytest.approx(large.per_voxel, rel=0.15)
    double = footprint(plan, task, labelled_batch=4)
    assert double.per_voxel == pytest.approx(2 * small.per_voxel, rel=0.1)
    assert large.voxels(large.of(12345)) in (12344, 12345)


def test_two_networks_need_more_than_one(plan, task):
    one, two = (footprint(plan, task, name) for name in ("supervised", "cps"))
    assert two.fixed == pytest.approx(2 * one.fixed, rel=0.1)
    assert two.per_voxel > 2 * one.per_voxel


def test_everything_kept_for_the_backward_pass_is_counted(plan, task):
    """At least the feature maps of the finest level, of which there are many."""
    need = footprint(plan, task)
    finest = plan.width * 4 * plan.labelled_batch
    assert need.per_voxel > 3 * finest


def test_memory_that_a_gpu_keeps_for_another_time_is_free(monkeypatch):
    """The rehearsals leave some behind, which other programs cannot have."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5e9, 8e9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2.5e9)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0.5e9)
    assert memory.available(torch.device("cuda")) == 7e9


def test_crops_shrink_to_what_the_memory_holds(plan):
    need = memory.Footprint(fixed=1e6, per_voxel=1e4)
    config = TrainingConfig(minutes=60)
    most = memory.largest_crop(need, 1e9, config)
    assert need.of(most) <= memory.SHARE * 1e9
    roomy, tight = (
        with_grid(plan, config, facts(), 1e-7, limit) for limit in (None, most)
    )
    assert math.prod(roomy.patch_zyx) > most
    assert math.prod(tight.patch_zyx) <= most
    assert "memory" in tight.reasons["patch_zyx"]


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"patch_zyx": (96, 96, 96)}, "--set patch_zyx=["),
        ({"patch_zyx": (96, 96, 96)}, "--set width=8 or --method supervised"),
        ({"patch_zyx": (96, 96, 96), "width": 8, "method": "supervised"}, "patch_zyx"),
        ({"patch_zyx": (8, 328, 336)}, "--set patch_zyx=[8, "),
    ],
)
def test_a_crop_that_does_not_fit_is_refused_with_one_that_does(asked, named):
    need = memory.Footprint(fixed=1e6, per_voxel=1e4)
    with pytest.raises(ConfigError, match=r"8\.8 GB") as refused:
        memory.largest_crop(
            need, 1e9, TrainingConfig(method="cct").model_copy(update=asked)
        )
    text = str(refused.value)
    assert named in text
    assert "\n" not in text
    edges = text.split("patch_zyx=[")[1].split("]")[0].split(",")
    smaller = math.prod(int(edge) for edge in edges)
    assert need.of(smaller) <= memory.SHARE * 1e9


def test_the_memory_is_asked_about_the_crop_that_will_be_taken():
    """17 x 65 x 65 voxels would fit, but 24 x 72 x 72 are taken for them."""
    need = memory.Footprint(fixed=0.0, per_voxel=1e4)
    config = TrainingConfig(patch_zyx=(17, 65, 65))
    with pytest.raises(ConfigError, match=r"\[24, 72, 72\]"):
        memory.largest_crop(need, 1.0e9, config)
    assert memory.largest_crop(need, 1.6e9, config) == 128_000


def test_training_says_before_its_first_step_that_memory_is_short(
    ball_project, monkeypatch
):
    monkeypatch.setattr(memory, "available", lambda device: 2e6)
    config = TrainingConfig(method="mean_teacher", steps=2, width=4, precision="fp32")
    events = []
    with pytest.raises(ConfigError, match="or use --method supervised"):
        events.extend(iter_into(events, engine.train(ball_project, config)))
    kinds = [event.type for event in events]
    assert "stepped" not in kinds
    assert "planned" not in kinds
    assert kinds[-1] == "finished"
    assert "memory" in events[-1].error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory_that_runs_out_while_training_is_told_and_nothing_is_lost(
    ball_project, monkeypatch, error
):
    run = Trainer.run

    def short(self, *args, **kwargs):
        for event in run(self, *args, **kwargs):
            yield event
            if event.type == "checkpointed":
                raise error

    config = TrainingConfig(
        method="supervised", steps=3, width=4, precision="fp32", checkpoint_seconds=0
    )
    monkeypatch.setattr(Trainer, "run", short)
    with pytest.raises(ConfigError, match="semiseg resume") as told:
        list(engine.train(ball_project, config))
    assert "\n" not in str(told.value)
    stopped = ball_project.latest_run()
    assert 0 < stopped.steps_done < 3
    monkeypatch.setattr(Trainer, "run", run)
    assert list(engine.resume(ball_project, stopped))[-1].reason == "completed"


@pytest.mark.parametrize(
    "part",
    [
        "session.fingerprint",
        "live_labels.LiveLabels.prepare",
        "trainer.Trainer.measure",
    ],
)
def test_memory_that_runs_out_before_the_first_step_is_told(
    ball_project, monkeypatch, part
):
    """While planning, preparing or measuring; there is nothing to go on with."""

    def short(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(f"napari_semiseg.engine.training.{part}", short)
    events = engine.train(ball_project, TrainingConfig(method="supervised", width=4))
    with pytest.raises(ConfigError, match=r"smaller --set patch_zyx=… or ") as told:
        list(events)
    assert "resume" not in str(told.value)
    assert "\n" not in str(told.value)
    assert ball_project.latest_run().status == "failed"


@pytest.mark.parametrize("message", [f"Allocator: {NO_MEMORY}", NO_PRIMITIVE])
def test_memory_that_runs_out_in_a_prediction_costs_that_case_alone(
    ball_project, monkeypatch, message
):
    config = TrainingConfig(method="supervised", steps=1, width=4, precision="fp32")
    list(engine.train(ball_project, config))
    run = ball_project.latest_run()
    images = predictor.working_images

    def short(case, *args):
        if case.id == "case_3":
            raise RuntimeError(f"{message}: you tried")
        return images(case, *args)

    monkeypatch.setattr(predictor, "working_images", short)
    cases = [ball_project.case(name) for name in ("case_3", "case_4")]
    left_out, made = engine.predict_cases(ball_project, run, cases)
    assert left_out.message.startswith("case case_3 is not predicted: expected memory")
    assert "close other programs" in left_out.message
    assert (made.case, made.done) == ("case_4", 2)
    with pytest.raises(ConfigError, match="expected memory for a prediction"):
        engine.predict(ball_project, run, cases[0])


def test_other_errors_of_a_training_stay_what_they_are(ball_project, monkeypatch):
    def broken(*args):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("napari_semiseg.engine.training.session.fingerprint", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        list(engine.train(ball_project, TrainingConfig(method="supervised", width=4)))


def iter_into(events, source):
    for event in source:
        events.append(event)
    return []


def test_training_fits_its_crops_to_the_memory(ball_project, monkeypatch):
    config = TrainingConfig(method="supervised", steps=1, width=4, precision="fp32")
    monkeypatch.setattr(memory, "available", lambda device: 12e6)
    list(engine.train(ball_project, config))
    plan = ball_project.latest_run().plan
    assert np.prod(plan.patch_zyx) <= 16**3
    assert "memory" in plan.reasons["patch_zyx"]


def test_a_method_that_needs_two_labelled_crops_says_so(ball_project):
    config = TrainingConfig(method="bcp", steps=1, labelled_batch=1)
    with pytest.raises(ConfigError, match=r"at least 2 .* --method mean_teacher"):
        next(engine.train(ball_project, config))
    assert not ball_project.runs()


def test_labels_without_any_structure_are_refused(ball_project):
    empty = np.zeros((24, 24, 24), np.uint8)
    for case in ball_project.cases(state="labelled"):
        ball_project.set_label(case.id, empty)
    config = TrainingConfig(
        method="supervised", steps=1, width=4, precision="fp32", patch_zyx=(16, 16, 16)
    )
    with pytest.raises(ProjectError, match="nothing but background"):
        list(engine.train(ball_project, config))


def test_memory_of_a_gpu_is_asked_only_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.peak_gpu_mb() == 0.0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 2_500_000)
    assert devices.peak_gpu_mb() == 2.5
