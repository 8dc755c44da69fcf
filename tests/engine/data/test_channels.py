"""Several images of a case, learned from together."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from engine.volumes import prepared
from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.plan import Intensity
from napari_semiseg.engine.data.augment import Crops, augment
from napari_semiseg.engine.data.sampler import Sampler, Streams, SyntheticBatches
from napari_semiseg.engine.inference.predictor import Predictor
from napari_semiseg.engine.methods import base as plugin
from napari_semiseg.engine.methods import registry
from napari_semiseg.engine.planning.fingerprint import fingerprint
from napari_semiseg.engine.training.trainer import Trainer
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.project.project import Project
from synthetic import ball, save_nifti

CPU = torch.device("cpu")
GREY = Intensity(kind="central", cut=(0.5, 99.5), mean_std=(0.0, 1.0))


def two_channels(seed: int, *, labelled: bool = True):
    """Noise first, and the picture of the two balls second."""
    one = prepared(seed, labelled=labelled)
    noise = np.random.default_rng(seed).normal(0, 1, one.image.shape)
    both = np.concatenate([noise.astype(np.float16), one.image])
    return dataclasses.replace(one, arrays={**one.arrays, "image": both})


@pytest.fixture
def wide_plan(plan):
    return plan.model_copy(
        update={
            "channels": ("T1", "FLAIR"),
            "intensities": (*plan.intensities, GREY),
        }
    )


@pytest.fixture
def wide_task(task):
    return dataclasses.replace(task, channels=2)


def trainer(name, task, plan):
    labelled = [two_channels(i) for i in range(3)]
    others = [two_channels(i, labelled=False) for i in range(3, 5)]
    learner = registry.build(name, {}, task)
    return Trainer(
        learner, Sampler(Streams(tuple(labelled), tuple(others)), plan, 3), plan, 3, CPU
    )


@pytest.mark.parametrize("name", sorted(registry.methods()))
def test_every_method_takes_several_channels(name, wide_task, wide_plan):
    made = trainer(name, wide_task, wide_plan)
    made._advance(12)
    learner = made._method
    batch = made._batches.batch(1, CPU)
    assert batch.image.shape[1] == 2
    assert batch.inside.shape[1] == 1
    image = batch.image.clone().requires_grad_()
    terms = learner.loss(
        made.networks, dataclasses.replace(batch, image=image), plugin.Progress(6, 12)
    )
    (gradient,) = torch.autograd.grad(sum(terms.values()), image)
    assert (gradient.abs().sum(dim=(0, 2, 3, 4)) > 0).all()
    with torch.inference_mode():
        said = learner.infer(made.networks.teachers, torch.randn(1, 2, 16, 16, 16))
    assert said.probabilities.shape == (1, 3, 16, 16, 16)


def test_speed_is_measured_with_as_many_channels(wide_plan):
    batch = SyntheticBatches(wide_plan, 3).batch(0, CPU)
    assert batch.image.shape[1] == 2
    assert batch.inside.shape[1] == 1


def test_channels_move_together_and_have_intensities_of_their_own():
    ramp = torch.linspace(-3, 3, 20).expand(3, 1, 20, 20, 20).contiguous()
    crops = Crops(
        image=torch.cat([ramp, ramp, torch.ones_like(ramp)], dim=1),
        target=torch.ones(1, 1, 20, 20, 20),
        distance_intervals=torch.zeros(1, 2, 20, 20, 20),
        classes=2,
    )
    rngs = [np.random.default_rng(seed) for seed in range(3)]
    batch = augment(crops, rngs, (16, 16, 16), (1, 1, 1))
    for first, second in batch.image:
        assert not torch.allclose(first, second, atol=0.05)
        both = torch.stack([first.flatten(), second.flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.7


def test_predicts_what_only_the_second_channel_shows(wide_task, wide_plan):
    plan = wide_plan.model_copy(update={"steps": 120, "patch_zyx": (24, 24, 24)})
    made = trainer("supervised", dataclasses.replace(wide_task, width=8), plan)
    for _ in range(plan.steps):
        made._advance(plan.steps)
    unseen = two_channels(8)
    both = unseen.image.astype(np.float32)

    def dice(image):
        predictor = Predictor(made._method, made.networks.teachers, plan, CPU)
        said = predictor.maps(image).probabilities.argmax(0).numpy() > 0
        truth = unseen.target > 0
        return 2 * (said & truth).sum() / max(1, said.sum() + truth.sum())

    assert dice(both) > 0.8
    assert dice(both[::-1].copy()) < 0.5


@pytest.fixture
def scans(tmp_path):
    return scanned(tmp_path)


def scanned(tmp_path, air=0):
    """Five cases whose ball only the second channel shows; two are labelled."""
    folder = tmp_path / "scans"
    for number in range(5):
        noise = np.random.default_rng(number).normal(0, 10, (2, 24, 24, 24))
        for name, values in (
            ("T1", noise[0]),
            ("FLAIR", 100 * ball(number) + noise[1] + air),
        ):
            path = folder / f"case_{number}_{name}.nii.gz"
            save_nifti(path, values.astype(np.int16))
    project = Project.create(tmp_path / "atrium", {"left atrium": 1})
    project.add(folder, channels=("T1=_T1", "FLAIR=_FLAIR"))
    for number in range(2):
        case = project.case(f"case_{number}")
        project.set_label(case.id, case.geometry.to_canonical(ball(number)))
    return project


def test_a_project_of_two_channels_is_trained_and_predicted(scans):
    """And a case with other channels than the model has is refused."""
    config = TrainingConfig(
        method="supervised",
        steps=2,
        device="cpu",
        patch_zyx=(16, 16, 16),
        precision="fp32",
        width=4,
    )
    list(engine.train(scans, config))
    run = scans.latest_run()
    assert run.plan.channels == ("T1", "FLAIR")
    assert len(run.plan.intensities) == 2
    assert "channels" in run.plan.reasons
    again = config.model_copy(update={"start_from": run.id})
    assert list(engine.train(scans, again))[-1].reason == "completed"
    record = scans.folder / "cases" / "case_3" / "case.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "channels": content["channels"][:1]}))
    with pytest.raises(ProjectError, match="T1, FLAIR, as the model was trained on, f"):
        engine.predict(scans, run, scans.case("case_3"))
    events = list(engine.predict_cases(scans, run, scans.cases(state="unlabelled")))
    assert [event.case for event in events if event.type == "predicted"] == [
        "case_2",
        "case_4",
    ]
    (warned,) = (event for event in events if event.type == "warned")
    assert "found one image a case" in warned.message


@pytest.mark.parametrize(
    ("theirs", "found"),
    [(["FLAIR", "T1"], "FLAIR, T1"), (["T1", "T2"], "T1, T2"), (["T1"], "one image")],
)
def test_weights_of_other_channels_are_no_beginning(scans, theirs, found):
    """As many channels are not enough: each weight has learned one kind of image."""
    config = TrainingConfig.build(
        method="supervised", steps=2, patch_zyx=(16, 16, 16), width=4, precision="fp32"
    )
    list(engine.train(scans, config))
    run = scans.latest_run()
    plan = json.loads(run.folder.plan.read_text())
    kinds = plan["intensities"][: len(theirs)]
    changed = {"channels": theirs, "intensities": kinds}
    run.folder.plan.write_text(json.dumps(plan | changed))
    with pytest.raises(ConfigError, match=f"channels T1, FLAIR, found .*{found}"):
        list(engine.train(scans, config.model_copy(update={"start_from": run.id})))
    assert scans.runs() == [run]


def test_each_channel_gets_the_intensities_of_its_kind(tmp_path):
    """Hounsfield units in one channel, and any in the other."""
    scans = scanned(tmp_path, air=-1000)
    cases = scans.cases(state="labelled")
    grey, ct = fingerprint(cases, cases).intensities
    assert grey.kind == "central"
    assert ct.kind == "ct"
    assert -950 < ct.cut[0] < ct.cut[1] < -850
    assert -920 < ct.mean_std[0] < -880
