"""Labels that change while a training runs."""

from __future__ import annotations

import os
import time
from functools import partial

import numpy as np
import pytest
import torch

from engine.killing import kill_after
from engine.volumes import prepared
from napari_semiseg import engine
from napari_semiseg.core.case import Split
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Learned
from napari_semiseg.engine.data.label_schedule import LabelVersion, Schedule
from napari_semiseg.engine.data.sampler import Sampler, Streams
from napari_semiseg.engine.planning import speed
from napari_semiseg.engine.training import pictures, session
from napari_semiseg.engine.training.checkpoint import Checkpoint
from napari_semiseg.engine.training.live_labels import LOOK_SHARE
from napari_semiseg.engine.training.trainer import Trainer
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.cases.label_changes import LabelWatcher
from synthetic import ball

TINY = {"width": 4, "patch_zyx": (16, 16, 16), "precision": "fp32"}
SLOW_S = 0.1
EVERY_STEP = {"checkpoint_seconds": 0.0, "look_seconds": 0.0}


def config(**values):
    known = {"method": "ug_mcl", "steps": 12} | TINY | EVERY_STEP
    return TrainingConfig.build(**known | values)


def state(run):
    saved = Checkpoint.load(run.folder.last)
    return [
        value
        for nets in (saved.students, saved.teachers)
        for net in nets.values()
        for value in net.values()
    ], saved


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def learned(run):
    return [event for event in run.events() if isinstance(event, Learned)]


def accept(project, name, spheres, known=slice(None)):
    """Store the mask of a case; ``known`` axial slices are annotated."""
    mask = project.case(name).geometry.to_canonical(ball(int(name[-1])))
    label = np.full_like(mask, 255)
    label[known] = mask[known]
    project.set_label(name, label)


def go(training, at):
    """Run a training; ``at`` says what to do after which step."""
    for event in training:
        if event.type == "checkpointed" and event.step in at:
            at.pop(event.step)()


# -- what is drawn


def picks(sampler, steps):
    return [case.id for step in steps for case in sampler.picked(0, step)]


def test_a_fresh_label_is_drawn_more_often_for_a_while(plan):
    old = tuple(prepared(i) for i in range(3))
    sampler = Sampler(Streams(old, ()), plan, 0, fresh_weight=4, fresh_steps=14)
    before = picks(sampler, range(30))
    more = (*old, prepared(7))
    sampler.change(Streams(more, (), since=9, new_since={"case7": 9}))
    assert picks(sampler, range(9)) == before[:18]
    during = picks(sampler, range(9, 23))
    assert [during.count(case.id) for case in more] == [4, 4, 4, 16]
    after = picks(sampler, range(23, 31))
    assert [after.count(case.id) for case in more] == [4, 4, 4, 4]


def test_what_is_drawn_does_not_depend_on_where_a_session_began(plan):
    old, more = [tuple(prepared(i) for i in range(n)) for n in (3, 4)]
    late = Streams(more, (), since=5, new_since={"case3": 5})
    whole = Sampler(Streams(old, ()), plan, 0, fresh_weight=3, fresh_steps=6)
    whole.change(late)
    resumed = Sampler(late, plan, 0, fresh_weight=3, fresh_steps=6)
    for step in (5, 8, 11, 20):
        assert picks(whole, [step]) == picks(resumed, [step])


def test_a_schedule_knows_what_is_in_force():
    a, b = LabelVersion("a", True), LabelVersion("b", False)
    none = LabelVersion("", False)
    schedule = Schedule()
    schedule.update(0, {"one": a, "two": none}, new=())
    assert schedule.update(3, {"one": a, "two": none}) is None
    made = schedule.update(7, {"one": a, "two": b})
    assert made.versions == {"two": b}
    assert (schedule.since, schedule.new_since) == (7, {"two": 7})
    assert schedule.lost_labels({"one": a, "two": none}) == ["two"]
    schedule.update(9, {"two": a})
    assert schedule.new_since == {"two": 9}
    again = Schedule.from_state(schedule.state())
    assert again.updates == schedule.updates
    assert again.versions == {"two": a}


# -- what is noticed


def test_only_what_was_written_is_noticed(make, spheres):
    project = make("p")
    watch = LabelWatcher(project.layout)
    assert watch.changed() == []
    project.save_draft("case_3", np.zeros((24, 24, 24), np.uint8))
    assert watch.changed() == []
    label = project.layout.case("case_0").label
    before = label.stat()
    accept(project, "case_0", spheres)
    os.utime(label, ns=(before.st_atime_ns, before.st_mtime_ns))
    accept(project, "case_4", spheres, slice(8, 12))
    assert watch.changed() == ["case_0", "case_4"]
    assert watch.changed() == []
    project.layout.case("case_1").label.unlink()
    assert watch.changed() == ["case_1"]


def test_labels_of_all_kinds_are_taken_in_while_it_runs(make, spheres):
    project = make("p")
    go(
        engine.train(project, config()),
        {
            2: lambda: accept(project, "case_2", spheres),
            4: lambda: accept(project, "case_3", spheres, slice(8, 12)),
            6: lambda: accept(project, "case_2", spheres, slice(10, 14)),
            8: lambda: project.layout.case("case_2").label.unlink(),
            10: lambda: project.set_split("case_3", Split.TEST),
        },
    )
    found = learned(project.latest_run())
    assert [(event.step, event.cases, event.dropped) for event in found] == [
        (2, ("case_2",), ()),
        (4, ("case_3",), ()),
        (6, ("case_2",), ()),
        (8, (), ("case_2",)),
        (10, (), ("case_3",)),
    ]
    counts = [(event.labelled, event.unlabelled) for event in found]
    assert counts == [(3, 2), (4, 2), (4, 3), (3, 3), (2, 2)]


def test_the_label_is_learnt_from_at_the_step_that_is_told(make, spheres):
    """The same weights up to that step, and others from there on."""
    told, still, at_three = make("told"), make("still"), []

    def keep(project):
        at_three.append(state(project.latest_run())[0])
        if project is told:
            accept(project, "case_2", spheres)

    for project in (still, told):
        after = {3: lambda project=project: keep(project)}
        go(engine.train(project, config(steps=5)), after)
    assert same(*at_three)
    assert not same(state(still.latest_run())[0], state(told.latest_run())[0])


def test_a_stopped_training_with_new_labels_resumes_exactly(make, spheres):
    whole, broken = make("whole"), make("broken")
    labels = (lambda p: accept(p, "case_2", spheres, slice(8, 14)),)
    go(engine.train(whole, config()), {4: lambda: labels[0](whole)})
    run = None

    def stop():
        nonlocal run
        run = broken.latest_run()
        run.request_stop()

    go(engine.train(broken, config()), {4: lambda: labels[0](broken), 7: stop})
    assert run.status == "cancelled"
    assert run.steps_done == 7
    list(engine.resume(broken, run))
    assert [event.step for event in learned(run)] == [4]
    (values, saved), (expected, other) = state(run), state(whole.latest_run())
    assert same(values, expected)
    assert saved.schedule == other.schedule


SCRIPT = """
import sys
import numpy as np
from napari_semiseg import engine
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.engine.planning import plan
from napari_semiseg.project.project import Project
plan.cores = lambda: 1
project = Project.open(sys.argv[1])
config = TrainingConfig.build(
    method="ug_mcl", steps=15, width=4, patch_zyx=(16, 16, 16), precision="fp32",
    checkpoint_seconds=1000.0, look_seconds=0.0,
)
label = np.load(sys.argv[2])
for event in engine.train(project, config):
    if event.type == "planned":
        project.set_label("case_2", label)
    print(event.type, getattr(event, "step", ""), flush=True)
"""


@pytest.mark.parametrize("wait", [0.0, 0.2])
def test_a_killed_training_with_new_labels_resumes_exactly(
    make, spheres, tmp_path, wait
):
    """The take-in itself is a checkpoint: there is no other one here."""
    settings = config(steps=15, checkpoint_seconds=1000.0)
    whole, killed = make("whole"), make("killed")
    mask = whole.case("case_2").geometry.to_canonical(ball(2))
    np.save(tmp_path / "label.npy", mask)
    for event in engine.train(whole, settings):
        if event.type == "planned":
            whole.set_label("case_2", mask)
    kill_after("learned", wait, SCRIPT, killed.folder, tmp_path / "label.npy")
    run = killed.latest_run()
    if run.status == "interrupted":
        opening = next(engine.resume(killed, run))
        assert opening.step == 1
        list(engine.resume(killed, run))
    assert [event.step for event in learned(run)] == [1]
    assert same(state(run)[0], state(whole.latest_run())[0])


# -- what is prepared


UNLABELLED = "Preparing unlabelled cases"


def auto(begin, **values):
    """Pseudo labels after such a part of the training."""
    return config(
        method="auto", params={"begin": begin, "least_entropy_ratio": 0}, **values
    )


def stages(events):
    return {event.stage: event.total for event in events if event.type == "staged"}


@pytest.mark.parametrize(("begin", "prepared"), [(1.0, None), (0.91, 3)])
def test_scans_without_a_label_are_prepared_where_a_step_needs_them(
    make, begin, prepared, monkeypatch
):
    """Of twelve steps the last one begins when 11/12 are done; case_2 is pictured.

    That a picture may be too dear for so short a training is not looked at here.
    """
    monkeypatch.setattr(pictures, "SHARE", 1e9)
    project = make("p")
    events = list(engine.train(project, auto(begin)))
    assert stages(events).get(UNLABELLED) == prepared
    kept = {path.name.split(".")[0] for path in (project.folder / "cache").iterdir()}
    known = {case.id for case in project.cases()}
    assert kept == (known if prepared else {"case_0", "case_1", "case_2"})
    assert events[-1].reason == "completed"


def test_the_default_that_needs_no_scan_is_supervised_to_the_last_weight(make):
    ours, reference = make("ours"), make("reference")
    list(engine.train(ours, auto(1.0)))
    list(engine.train(reference, config(method="supervised")))
    assert same(state(ours.latest_run())[0], state(reference.latest_run())[0])


@pytest.mark.parametrize("stop_at", [4, 7])
@pytest.mark.parametrize("begin", [0.5, 1.0])
def test_a_resume_goes_on_with_the_scans_that_the_run_had(
    make, spheres, begin, stop_at
):
    """A third label comes in, and a label goes."""
    whole, broken = make("whole"), make("broken")
    changes = {
        3: lambda project: accept(project, "case_2", spheres),
        5: lambda project: project.layout.case("case_1").label.unlink(),
    }

    def changing(project, more=None):
        return {at: partial(one, project) for at, one in changes.items()} | (more or {})

    def stop():
        broken.latest_run().request_stop()

    go(engine.train(whole, auto(begin)), changing(whole))
    left = changing(broken, {stop_at: stop})
    go(engine.train(broken, auto(begin)), left)
    run = broken.latest_run()
    assert run.steps_done == stop_at
    go(engine.resume(broken, run), left)
    assert not left
    assert [event.step for event in learned(run)] == [3, 5]
    (values, saved), (expected, other) = state(run), state(whole.latest_run())
    assert saved.schedule == other.schedule
    assert same(values, expected)


@pytest.fixture
def longer(monkeypatch):
    """At step 4 the minutes turn out to hold 12 steps; 8 were planned."""
    monkeypatch.setattr(speed, "expected_steps", lambda *args: 8)
    monkeypatch.setattr(session, "expected_steps", lambda *args: 8)

    def steps(_keeper, plan, step, *_args):
        return 12 if step >= 4 and plan.steps != 12 else None

    monkeypatch.setattr(session.Timekeeper, "steps", steps)


BY_MINUTES = {"steps": None, "minutes": 1.0, "checkpoint_seconds": 1000.0}


@pytest.mark.usefixtures("longer")
def test_scans_that_only_the_new_number_of_steps_asks_for_are_prepared_then(make):
    """Only of twelve steps, not of eight, one begins when nine tenths are done."""
    project = make("p")
    events = list(engine.train(project, auto(0.9, **BY_MINUTES)))
    kinds = [event.type for event in events]
    run = project.latest_run()
    assert stages(events)[UNLABELLED] == 3
    assert [event.steps for event in events if event.type == "planned"] == [8, 12]
    assert kinds.index("learned") > kinds.index("planned")
    assert [(e.step, e.unlabelled) for e in learned(run)] == [(4, 3)]
    assert run.plan.reasons["unlabelled"].startswith("used from step 11 of 12 on")
    assert "pseudo_labels" in events[kinds.index("finished") - 2].losses


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@pytest.mark.usefixtures("longer")
@pytest.mark.parametrize("step", [4, 7])
@pytest.mark.parametrize("begin", [0.9, 1.0])
def test_a_training_killed_after_a_set_point_resumes_exactly(
    make, monkeypatch, begin, step
):
    """The set point itself is a checkpoint: there is no other one here."""
    whole, killed = make("whole"), make("killed")
    list(engine.train(whole, auto(begin, **BY_MINUTES)))
    advance = Trainer._advance

    def dying(trainer, total, *requests):
        if trainer.step == step and total == 12:
            raise Killed
        return advance(trainer, total, *requests)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_advance", dying)
        with pytest.raises(Killed):
            list(engine.train(killed, auto(begin, **BY_MINUTES)))
    run = killed.latest_run()
    assert Checkpoint.load(run.folder.last).step == 4
    assert run.plan.steps == 12
    assert next(engine.resume(killed, run)).step == 4
    list(engine.resume(killed, run))
    assert same(state(run)[0], state(whole.latest_run())[0])


@pytest.mark.usefixtures("longer")
def test_a_training_killed_within_a_set_point_finds_it_again(make, monkeypatch):
    """The checkpoint is written, the plan is not: the next session plans anew."""
    project = make("p")
    write = session.write_json

    def dying(path, value):
        if value["steps"] == 12:
            raise Killed
        write(path, value)

    with monkeypatch.context() as patch:
        patch.setattr(session, "write_json", dying)
        with pytest.raises(Killed):
            list(engine.train(project, auto(1.0, **BY_MINUTES)))
    run = project.latest_run()
    assert (run.plan.steps, Checkpoint.load(run.folder.last).step) == (8, 4)
    events = list(engine.resume(project, run))
    assert [event.steps for event in events if event.type == "planned"] == [8, 12]
    assert events[-1].reason == "completed"
    assert events[-1].step == 12


def test_what_changed_while_nothing_ran_is_taken_in_on_resume(make, spheres):
    project = make("p")
    go(
        engine.train(project, config()),
        {5: lambda: project.latest_run().request_stop()},
    )
    accept(project, "case_1", spheres, slice(9, 12))
    project.layout.case("case_0").label.unlink()
    run = project.latest_run()
    events = list(engine.resume(project, run))
    told = [event for event in events if isinstance(event, Learned)]
    assert [(event.step, event.cases, event.dropped) for event in told] == [
        (5, ("case_1",), ("case_0",))
    ]
    assert state(run)[1].schedule[-1]["fresh"] == ["case_1"]
    assert events[-1].reason == "completed"


def test_a_label_that_cannot_be_read_is_tried_again_and_then_told(make, spheres):
    project = make("p")
    label = project.layout.case("case_2").label

    def tear():
        label.write_bytes(b"half a file")

    whole = spheres.masks / "case_2.nii.gz"
    go(
        engine.train(project, config()),
        {
            2: tear,
            3: lambda: label.write_bytes(whole.read_bytes()),
            6: tear,
        },
    )
    run = project.latest_run()
    assert [event.step for event in learned(run)] == [3]
    said = [event.message for event in run.events() if event.type == "warned"]
    assert len(said) == 1
    assert "case_2" in said[0]
    assert run.status == "completed"


def test_the_last_label_stays_in_use(make):
    project = make("p")

    def remove():
        for name in ("case_0", "case_1"):
            project.layout.case(name).label.unlink()

    go(engine.train(project, config()), {3: remove})
    run = project.latest_run()
    assert learned(run) == []
    assert "no label is left" in next(
        event.message for event in run.events() if event.type == "warned"
    )
    with pytest.raises(ProjectError, match="has a label"):
        list(engine.resume(project, run, steps=20))


def test_looking_takes_a_small_part_of_the_time(make, monkeypatch):
    """Where a look is slow, as on a network share, it is done less often."""
    looks = []
    seen = LabelWatcher.changed

    def slow(self):
        looks.append(time.perf_counter())
        time.sleep(SLOW_S)
        return seen(self)

    monkeypatch.setattr(LabelWatcher, "changed", slow)
    project = make("p")
    began = time.perf_counter()
    list(engine.train(project, config(method="supervised", steps=30)))
    spent = time.perf_counter() - began
    assert len(looks) <= 1 + spent * LOOK_SHARE / SLOW_S
