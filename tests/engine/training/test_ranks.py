"""Several processes that train the same networks, each on its share of a batch."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch

from engine.methods.test_methods import METHODS
from engine.ranks import digest, in_ranks
from engine.volumes import prepared
from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.data.sampler import Sampler, Streams
from napari_semiseg.engine.distributed import ALONE, Ranks, join
from napari_semiseg.engine.methods import registry
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.engine.training.trainer import Trainer
from napari_semiseg.errors import ConfigError
from napari_semiseg.project.project import Project

CPU = torch.device("cpu")
SETTINGS = {
    "method": "mean_teacher",
    "steps": 6,
    "width": 4,
    "patch_zyx": (16, 16, 16),
    "precision": "fp32",
    "labelled_batch": 2,
    "unlabelled_batch": 2,
    "checkpoint_seconds": 0.0,
}
EQUAL = [
    *("supervised", "auto", "mc_net_plus", "mean_teacher", "ict"),
    *("dan", "asdnet", "sassnet", "shape_prior", "size_constraint"),  # critics
    *("cps", "beta_fft", "deep_co_training", "multi_view", "sgtc"),  # several students
    *("ad_mt", "self_training", "temporal_ensembling"),  # more teachers than students
]
"""Methods that two ranks train to the weights of one."""
EARLY = {"auto": {"begin": 0.25, "least_entropy_ratio": 0}}
"""Parameters that let unlabelled crops take part in a training of a few steps."""


@pytest.fixture
def small(plan):
    """Two crops of each kind for each of two ranks."""
    return plan.model_copy(
        update={
            "patch_zyx": (8, 8, 8),
            "strides": ((2, 2, 2),),
            "labelled_batch": 4,
            "unlabelled_batch": 4,
        }
    )


def sampler(plan, ranks):
    labelled = tuple(prepared(i) for i in range(3))
    others = tuple(prepared(i, labelled=False) for i in range(3, 6))
    streams = Streams(labelled, others)
    return Sampler(streams, plan, 3, rank=ranks.rank, ranks=ranks.size)


def trained(ranks, names, task, plan, *, share, steps):
    """Digests of methods that were trained a few steps, each rank on its share."""
    found = {}
    for name in names:
        learner = registry.build(name, EARLY.get(name, {}), task)
        batches = sampler(plan, ranks if share else ALONE)
        # Equal batches and equal noise make equal gradients.
        among = ranks if share else dataclasses.replace(ranks, rank=0)
        made = Trainer(learner, batches, plan, 3, CPU, ranks=among)
        for _ in range(steps):
            made._advance(steps)
        found[name] = digest(made.state())
    return found


def test_the_shares_of_all_ranks_are_the_batch_of_one(plan):
    wide = plan.model_copy(update={"labelled_batch": 4, "unlabelled_batch": 4})
    whole = sampler(wide, ALONE).batch(5, CPU)
    parts = [sampler(wide, Ranks(rank, 2)).batch(5, CPU) for rank in range(2)]
    for name in ("target", "valid", "low", "high", "planes"):
        joined = [getattr(part, name) for part in parts]
        for at, crop in enumerate(getattr(whole, name)):
            assert torch.equal(crop, joined[at % 2][at // 2]), name
    for at, crop in enumerate(whole.image):
        assert torch.equal(crop, parts[at % 2].image[at // 2])
        assert whole.cases[at] == parts[at % 2].cases[at // 2]


def test_two_ranks_with_equal_batches_are_one(task, small):
    two = small.model_copy(update={"labelled_batch": 2, "unlabelled_batch": 2})
    task = dataclasses.replace(task, strides=small.strides)
    asked = {"share": False, "steps": 4}
    alone = trained(ALONE, EQUAL, task, two, **asked)
    work = lambda ranks: trained(ranks, EQUAL, task, two, **asked)  # noqa: E731
    assert in_ranks(work) == [alone, alone]


def test_equal_batches_are_tried_with_each_kind_of_method(task):
    made = [registry.build(name, EARLY.get(name, {}), task) for name in EQUAL]
    assert any(method.critics() for method in made)
    assert {len(method.networks()) for method in made} == {1, 2, 3}
    assert {len(method.teachers()) for method in made} >= {1, 2, 3, 4}


@pytest.mark.timeout(900)
def test_all_methods_stay_the_same_on_both_ranks(task, small):
    task = dataclasses.replace(task, strides=small.strides)

    def work(ranks):
        return trained(ranks, METHODS, task, small, share=True, steps=5)

    first, second = in_ranks(work)
    assert first == second
    assert len(set(first.values())) == len(METHODS)
    # Each rank had crops of its own: alone on the first one's, others come out.
    half = small.model_copy(update={"labelled_batch": 2, "unlabelled_batch": 2})
    alone = trained(ALONE, ["dan"], task, half, share=True, steps=5)
    assert alone["dan"] != first["dan"]


def test_a_gradient_that_one_rank_lacks_is_averaged_and_one_that_all_lack_stays_none():
    def work(ranks):
        weights = [torch.nn.Parameter(torch.zeros(2)) for _ in range(3)]
        weights[0].grad = torch.full((2,), 2.0 + 2 * ranks.rank)
        if ranks.is_first:
            weights[1].grad = torch.ones(2)
        statistic = torch.tensor([4.0 * ranks.rank])
        told = ranks.average(weights, [statistic], [1.0 - ranks.rank, 0.0])
        gradients = [None if w.grad is None else w.grad.tolist() for w in weights]
        return gradients, statistic.tolist(), told

    expected = [[3.0, 3.0], [0.5, 0.5], None], [2.0], [0.5, 0.0]
    assert in_ranks(work) == [expected, expected]


def session(ranks, folder, verb, **asked):
    """Train or resume in a session of its own; its events, and the weights."""
    project = Project.open(folder)
    if verb == "train":
        made = project.runs()[-1]
        events = list(engine.train(project, made.config, run=made))
    else:
        events = list(engine.resume(project, project.runs()[-1], **asked))
    return [event.type for event in events]


def test_a_training_goes_on_with_fewer_and_with_more_ranks(ball_project):
    from napari_semiseg.project.runs.run import Run

    folder = ball_project.folder
    case = ball_project.cases()[1]
    ball_project.set_split(case.id, "validation")
    run = Run.create(ball_project, TrainingConfig.build(**SETTINGS, validate_every=3))
    first, second = in_ranks(session, folder, "train")
    assert (run.status, run.steps_done) == ("completed", 6)
    assert {"started", "stepped", "finished"} <= set(first)
    assert not {"started", "stepped", "finished"} & set(second)
    assert first.count("validated") == second.count("validated") == 2
    logged = [event.type for event in run.events()]
    assert logged == first  # one writer
    assert "devices" in run.plan.reasons
    two = Checkpoint.load(run.folder.last)
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    list(engine.resume(ball_project, run, steps=9))
    one = Checkpoint.load(run.folder.last)
    assert one.step == 9
    assert change(two, one) > 0
    shutil.copytree(folder, folder.with_name("one"))
    in_ranks(lambda ranks: session(ranks, folder, "resume", steps=12))
    last = Checkpoint.load(run.folder.last)
    assert last.step == 12
    assert ball_project.run(run.id).status == "completed"

    # A training goes on from exactly these weights, so that it can be repeated.
    in_ranks(lambda ranks: session(ranks, folder.with_name("one"), "resume", steps=12))
    again = Project.open(folder.with_name("one")).run(run.id)
    assert digest(Checkpoint.load(again.folder.last)) == digest(last)
    # With two all along the same crops are seen, which fewer normalise together.
    in_ranks(lambda ranks: session(ranks, kept, "resume", steps=12))
    throughout = Checkpoint.load(Project.open(kept).run(run.id).folder.last)
    assert 0 < change(throughout, last) < 0.1


def change(before, after):
    """Length of the change of the student's weights, over that of the weights."""
    (first,), (last,) = before.students.values(), after.students.values()
    kept = [name for name in first if "running" not in name and "num" not in name]
    vectors = [
        torch.cat([one[name].flatten() for name in kept]) for one in (first, last)
    ]
    return float((vectors[0] - vectors[1]).norm() / vectors[0].norm())


def test_two_ranks_stop_at_the_same_step_and_learn_the_same_labels(
    ball_project, spheres
):
    from napari_semiseg.project.runs.run import Run

    config = TrainingConfig.build(**SETTINGS | {"steps": 100_000, "look_seconds": 0.0})
    run = Run.create(ball_project, config)

    def work(ranks):
        project = Project.open(ball_project.folder)
        made = project.run(run.id)
        seen = None
        for event in engine.train(project, config, run=made):
            if ranks.is_first and event.type == "stepped" and seen is None:
                mask = spheres.masks / "case_2.nii.gz"
                project.set_label("case_2", mask)
                seen = event.step
            if event.type == "learned" and event.step:
                made.request_stop()
        return event.step

    first, second = in_ranks(work)
    assert first == second == Checkpoint.load(run.folder.last).step < 100_000
    assert [one.cases for one in run.learned] == [("case_2",)]
    assert run.status == "cancelled"


def test_each_rank_predicts_one_of_the_open_cases(ball_project, monkeypatch):
    from napari_semiseg.engine.training import live_predictions
    from napari_semiseg.project.runs.prediction_requests import request_predictions
    from napari_semiseg.project.runs.run import Run

    monkeypatch.setattr(live_predictions, "SHARE", 1.0)
    monkeypatch.setattr("napari_semiseg.engine.training.trainer.ATTENTION_SECONDS", 0)
    config = TrainingConfig.build(**SETTINGS | {"steps": 8, "refresh_seconds": 0.0})
    run = Run.create(ball_project, config)
    request_predictions(run, ["case_3", "case_4", "gone"])

    def work(ranks):
        made, predict = [], live_predictions.LivePredictions._predict

        def noted(self, name, trainer):
            made.append((trainer.step, name))
            return predict(self, name, trainer)

        monkeypatch.setattr(live_predictions.LivePredictions, "_predict", noted)
        events = session(ranks, ball_project.folder, "train")
        return made, events.count("predicted")

    (first, told), (second, untold) = in_ranks(work)
    assert {name for _, name in first} | {name for _, name in second} == {
        "case_3",
        "case_4",
        "gone",
    }
    assert {step for step, _ in first} & {step for step, _ in second}  # side by side
    names = dict(second)
    assert all(names.get(step) != name for step, name in first)
    logged = [event.case for event in run.events() if event.type == "predicted"]
    assert told == len(logged) > 0
    assert set(logged) == {"case_3", "case_4"}
    assert untold == 0
    assert run.prediction_record("case_4").step <= 8


@pytest.mark.parametrize(
    ("method", "labelled", "unlabelled", "named"),
    [
        ("supervised", 3, 0, "labelled_batch=4"),
        ("bcp", 2, 2, "labelled_batch=4"),
        ("ict", 4, 2, "unlabelled_batch=4"),
    ],
)
def test_a_batch_that_ranks_cannot_share_is_refused(
    plan, method, labelled, unlabelled, named
):
    asked = {"labelled_batch": labelled, "unlabelled_batch": unlabelled}
    with pytest.raises(ConfigError, match=named):
        registry.check_shares(
            plan.model_copy(update=asked), 2, registry.METHODS.find(method)
        )


@pytest.mark.parametrize(
    ("environment", "alone"),
    [
        ({}, True),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, True),  # no step: not by srun
        ({"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost"}, True),
    ],
)
def test_a_process_that_nobody_has_started_with_others_is_alone(environment, alone):
    assert join(environment).alone is alone


def test_ranks_of_srun_meet_where_it_was_started():
    from napari_semiseg.engine.distributed import _place

    known = {
        "SLURM_PROCID": "3",
        "SLURM_NTASKS": "4",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_ID": "0",
        "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7",
        "SLURM_JOB_ID": "41",
    }
    assert _place(known) == (3, 4, 1, "tcp://10.0.0.7:20041")
