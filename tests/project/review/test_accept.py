from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.cases.history import Viewed
from napari_semiseg.project.project import Project
from napari_semiseg.project.review import accept as accepting
from napari_semiseg.project.review.accept import accept, reopen
from napari_semiseg.project.review.corrections import corrections
from napari_semiseg.project.runs.run import Run
from synthetic import SIZE, ball, snapshot

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run(ball_project, predict_ball) -> Run:
    """Predictions of all cases."""
    made = Run.create(ball_project, TrainingConfig())
    for case in ball_project.cases():
        made.write_prediction(predict_ball(made, case), case.image)
    return made


def look(project: Project, name: str, run: Run, step: int = 7) -> None:
    """Leave behind what opening a case in the viewer leaves behind."""
    project.note(name, Viewed(minutes=0.5, run=run.id, step=step))


class TestAccept:
    def test_a_prediction_becomes_the_label_and_is_marked(
        self, ball_project, run
    ) -> None:
        look(ball_project, "case_3", run)
        report = accept(ball_project, ["case_2", "case_3"])
        assert report.accepted == ["case_2", "case_3"]
        assert report.unseen == ["case_2"]
        unseen, seen = ball_project.case("case_2"), ball_project.case("case_3")
        assert unseen.state == seen.state == "labelled"
        assert np.array_equal(
            unseen.read_label(), unseen.geometry.to_canonical(ball(2))
        )
        assert (unseen.accepted_unseen, seen.accepted_unseen) == (True, False)
        entry = unseen.record.history[-1]
        assert (entry.seen, entry.run, entry.step) == (False, run.id, 7)
        assert entry.corrective_dice is None
        assert seen.record.history[-1].corrective_dice == 1.0

    def test_seen_means_this_very_prediction(self, ball_project, run) -> None:
        look(ball_project, "case_2", run, step=6)
        assert accept(ball_project, ["case_2"]).unseen == ["case_2"]

    def test_whoever_vouches_for_all_says_nothing_about_the_model(
        self, ball_project, run
    ) -> None:
        assert accept(ball_project, ["case_2"], seen=True).unseen == []
        [found] = [c for c in corrections(ball_project.cases()) if c.run]
        assert (found.seen, found.dice) == (True, None)

    def test_work_of_people_is_never_replaced(self, ball_project, run) -> None:
        ball_project.save_draft("case_2", np.zeros((SIZE, SIZE, SIZE), np.uint8))
        ball_project.set_excluded("case_3", True)
        run.folder.prediction("case_4").json.unlink()
        before = snapshot(ball_project.folder)
        names = [case.id for case in ball_project.cases()]
        report = accept(ball_project, names)
        assert report.accepted == []
        assert report.skipped == {
            "case_0": "it has a label already",
            "case_1": "it has a label already",
            "case_2": "it has edits that are not accepted: open it",
            "case_3": "it is excluded",
            "case_4": "it has no prediction",
        }
        assert snapshot(ball_project.folder) == before

    @pytest.mark.parametrize("step", ["replace_label", "amend"])
    def test_an_interruption_never_makes_it_a_person_s_mask(
        self, ball_project, run, monkeypatch, step
    ) -> None:
        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        owner = accepting if step == "replace_label" else Project
        with monkeypatch.context() as patch:
            patch.setattr(owner, step, stop)
            with pytest.raises(KeyboardInterrupt):
                accept(ball_project, ["case_2"])
        case = Project.open(ball_project.folder).case("case_2")
        assert case.has_label == (step == "amend")
        assert case.accepted_unseen == case.has_label
        assert not [c for c in corrections([case]) if c.case == "case_2"]
        if not case.has_label:
            assert accept(ball_project, ["case_2"]).unseen == ["case_2"]

    def test_what_others_note_meanwhile_keeps_its_place(
        self, ball_project, run, monkeypatch
    ) -> None:
        amend = Project.amend

        def amended_later(*args: object, **facts: object) -> None:
            look(Project.open(ball_project.folder), "case_2", run)
            amend(*args, **facts)

        monkeypatch.setattr(Project, "amend", amended_later)
        accept(ball_project, ["case_2"])
        *_, accepted, viewed = ball_project.case("case_2").record.history
        assert (accepted.action, viewed.action) == ("accept", "view")
        assert accepted.annotated_fraction == 1
        assert not hasattr(viewed, "annotated_fraction")

    def test_progress_counts_what_is_left_out_too(self, ball_project, run) -> None:
        told = []
        accept(ball_project, ["case_2", "case_0"], progress=lambda *at: told.append(at))
        assert told == [(1, 2), (2, 2)]

    def test_an_unknown_case_changes_nothing(self, ball_project, run) -> None:
        before = snapshot(ball_project.folder)
        with pytest.raises(ProjectError, match="ghost"):
            accept(ball_project, ["case_2", "ghost"])
        assert snapshot(ball_project.folder) == before

    def test_a_person_s_label_afterwards_ends_the_mark(self, ball_project, run) -> None:
        accept(ball_project, ["case_2"])
        ball_project.set_label("case_2", ball_project.case("case_2").read_label())
        assert not ball_project.case("case_2").accepted_unseen


class TestReopen:
    def test_the_case_is_without_a_label_and_nothing_is_lost(
        self, ball_project, run
    ) -> None:
        accept(ball_project, ["case_2"])
        label = ball_project.case("case_2").read_label()
        report = reopen(ball_project, ["case_2", "case_3"])
        assert report.reopened == ["case_2"]
        assert report.skipped == {"case_3": "it has no label"}
        case = ball_project.case("case_2")
        assert case.state == "proposed"
        assert not case.accepted_unseen
        actions = [entry.action for entry in case.record.history]
        assert actions == ["add", "accept", "reopen"]
        [kept] = case.folder.previous.iterdir()
        ball_project.set_label("case_2", kept)
        assert np.array_equal(ball_project.case("case_2").read_label(), label)

    def test_it_can_be_accepted_and_reopened_again(self, ball_project, run) -> None:
        for _ in range(3):
            assert accept(ball_project, ["case_2"]).accepted == ["case_2"]
            assert reopen(ball_project, ["case_2"]).reopened == ["case_2"]
        opened = Project.open(ball_project.folder)
        assert opened.case("case_2").state == "proposed"
        assert [c.case for c in corrections(opened.cases())].count("case_2") == 3

    def test_edits_that_are_not_accepted_stay(self, ball_project, run) -> None:
        draft = np.ones((SIZE, SIZE, SIZE), np.uint8)
        ball_project.save_draft("case_0", draft)
        reopen(ball_project, ["case_0"])
        case = ball_project.case("case_0")
        assert case.state == "draft"
        assert np.array_equal(case.read_draft(), draft)


def test_the_manifest_says_who_looked(ball_project, run, tmp_path: Path) -> None:
    look(ball_project, "case_3", run)
    accept(ball_project, ["case_2", "case_3"], by="Ada")
    ball_project.export(tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    found = {item["case"]: item for item in manifest["files"]}
    said = {name: (item["source"], item["accepted"]) for name, item in found.items()}
    assert said == {
        "case_0": ("human", "seen"),
        "case_1": ("human", "seen"),
        "case_2": ("model", "unseen"),
        "case_3": ("model", "seen"),
        "case_4": ("model", None),
    }
    assert found["case_2"]["by"] == "Ada"
    assert found["case_2"]["human_edits"] == 0
    assert found["case_2"]["run"] == found["case_4"]["run"] == run.id
    assert found["case_3"]["minutes"] == 0.5
    with (tmp_path / "out" / "volumes.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert [rows[f"case_{number}"]["accepted"] for number in range(5)] == [
        *["seen"] * 2,
        "unseen",
        "seen",
        "no",
    ]
    assert rows["case_2"]["source"] == run.id
