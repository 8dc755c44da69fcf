"""Suggest, accept, reopen, refine, flag and skip."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.prediction import LOWEST_LOG, FeatureMaps
from napari_semiseg.io.masks import write_labels
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run
from synthetic import ball, save_nifti, snapshot


@pytest.fixture
def run(ball_project, predict_ball) -> Run:
    made = Run.create(ball_project, TrainingConfig())
    for name in ("case_2", "case_3", "case_4"):
        case = ball_project.case(name)
        made.write_prediction(predict_ball(made, case), case.image)
    return made


@pytest.fixture
def corrected(ball_project, predict_ball, spheres) -> Project:
    """Five corrected cases, Dice falling with uncertainty, and three proposals."""
    for number in range(5, 13):
        save_nifti(spheres.images / f"more_{number % 5}{number}.nii.gz", ball(0))
    ball_project.add(spheres.images)
    run = Run.create(ball_project, TrainingConfig())
    names = [case.id for case in ball_project.cases() if case.id.startswith("more")]
    for rank, name in enumerate(names):
        case = ball_project.case(name)
        made = predict_ball(run, case, uncertainty=0.1 + 0.05 * (rank % 5))
        run.write_prediction(made, case.image)
        if rank < 5:
            label = made.labels.copy()
            label[:, : 2 * rank + 7] = 0
            ball_project.set_label(name, label, minutes=0.5)
    return ball_project


def test_accept_marks_and_reopen_takes_back(semiseg, ball_project, run) -> None:
    folder = ball_project.folder
    chosen = ("--case", "case_2", "--case", "case_0")
    assert semiseg("accept", folder, *chosen, "--json").json == {
        "accepted": ["case_2"],
        "unseen": ["case_2"],
        "skipped": {"case_0": "it has a label already"},
    }
    rows = {row["id"]: row for row in semiseg("status", folder, "--json").json["cases"]}
    assert rows["case_2"]["state"] == "labelled"
    accepted = [rows[f"case_{number}"]["accepted"] for number in range(5)]
    assert accepted == ["seen", "seen", "unseen", None, None]
    assert "accepted unseen" in semiseg("status", folder).out
    assert semiseg("reopen", folder, "--case", "case_2", "--json").json == {
        "reopened": ["case_2"],
        "skipped": {},
    }
    answer = semiseg("accept", folder, "--all", "--seen", "--json").json
    assert answer["accepted"] == ["case_2", "case_3", "case_4"]
    assert answer["unseen"] == []
    assert "accepted unseen" not in semiseg("status", folder).out


def test_undo_and_restore_bring_back_what_was_there(
    semiseg, ball_project, spheres, run
) -> None:
    folder, case = ball_project.folder, ("--case", "case_2")
    ball_project.save_draft("case_2", ball(4))
    listed = spheres.masks.parent / "one.list"
    listed.write_text("case_2\n")
    said = semiseg("label", folder, "--masks", spheres.masks, "--cases", listed).out
    assert "Note: case_2: edits that were not accepted are kept" in said
    [name] = semiseg("restore", folder, "case_2", "--json").json["versions"]
    assert name in said
    assert semiseg("undo", folder, *case, "--json").json == {
        "undone": {"case_2": "label"},
        "skipped": {},
    }
    assert ball_project.case("case_2").state == "draft"
    [reason] = semiseg("undo", folder, *case, "--json").json["skipped"].values()
    assert "found none" in reason
    ball_project.discard_draft("case_2")
    assert name in semiseg("restore", folder, "case_2").out
    assert "open it" in semiseg("restore", folder, "case_2", "--version", name).out
    assert ball_project.case("case_2").has_draft
    assert "found 'x'" in semiseg("restore", folder, "case_2", "--version", "x").refusal
    assert "found none" in semiseg("undo", folder).refusal


def test_status_says_that_a_labelled_case_has_edits(semiseg, ball_project) -> None:
    ball_project.save_draft("case_0", ball(4))
    assert (
        "has edits that are not accepted" in semiseg("status", ball_project.folder).out
    )


def test_people_read_what_was_done(semiseg, ball_project, run) -> None:
    said = semiseg("accept", ball_project.folder, "--all").out
    assert "Accepted 3 predictions, 3 of them unseen." in said
    assert "semiseg undo" in said
    said = semiseg("reopen", ball_project.folder, "--case", "case_3").out
    assert said == "Reopened 1 case.\n"


def test_a_choice_is_asked_for(semiseg, ball_project, run) -> None:
    folder = ball_project.folder
    before = snapshot(folder)
    assert "found neither" in semiseg("accept", folder).refusal
    assert "found both" in semiseg("accept", folder, "--all", "--case", "x").refusal
    assert "ghost" in semiseg("accept", folder, "--case", "ghost").refusal
    assert "from 0 to 1" in semiseg("accept", folder, "--all", "--at-least", 2).refusal
    assert "found none" in semiseg("reopen", folder).refusal
    assert snapshot(folder) == before


def test_estimates_stand_in_status_and_suggest(semiseg, corrected) -> None:
    status = semiseg("status", corrected.folder, "--json").json
    rows = {row["id"]: row for row in status["cases"]}
    done = [row for row in rows.values() if row["corrective_dice"] is not None]
    assert len(done) == 5
    assert {row["minutes"] for row in done} == {0.5}
    assert all(row["estimated_dice"] is None for row in done)
    assert len(status["corrections"]) == 7
    assert status["plateau"].startswith("The last 5 cases needed under 1 minute")
    volumes = semiseg("suggest", corrected.folder, "--json").json["volumes"]
    assert len(volumes) == 3
    for item in volumes:
        row = rows[item["case"]]
        assert item["estimated_dice"] == row["estimated_dice"]
        assert 0 < item["estimated_dice_error"] < 0.5
    worst, best = volumes[0], volumes[-1]
    assert worst["estimated_dice"] < best["estimated_dice"]
    assert f" {rows[best['case']]['estimated_dice']:.2f} (" in (
        semiseg("status", corrected.folder).out
    )


def test_only_good_ones_are_accepted_when_asked(semiseg, corrected) -> None:
    status = semiseg("status", corrected.folder, "--json").json
    known = {
        row["id"]: row["estimated_dice"]
        for row in status["cases"]
        if row["estimated_dice"] is not None
    }
    middle = sorted(known.values())[1]
    found = semiseg(
        "accept", corrected.folder, "--all", "--at-least", middle - 1e-6, "--json"
    ).json
    assert found["accepted"] == sorted(
        name for name, dice in known.items() if dice >= middle - 1e-6
    )
    [reason] = found["skipped"].values()
    assert "estimated from the uncertainty" in reason


def test_without_corrections_no_estimate_is_made_up(semiseg, ball_project, run) -> None:
    found = semiseg(
        "accept", ball_project.folder, "--all", "--at-least", 0.5, "--json"
    ).json
    assert found["accepted"] == []
    assert set(found["skipped"].values()) == {"Dice not yet known: accept 5 more"}


@pytest.fixture
def predicted(semiseg, engine, ball_project):
    semiseg("train", ball_project.folder, "--json")
    return ball_project.folder


def test_flags_and_skips_show_in_status_and_queue(semiseg, predicted) -> None:
    first = semiseg("suggest", predicted, "--json").json["volumes"][0]["case"]
    words = ("flag", predicted, first, "--comment", "metal artefact", "--json")
    assert semiseg(*words).json == {"flags": {first: "metal artefact"}}
    assert semiseg("skip", predicted, first, "--json").json == {"skipped": [first]}
    last = semiseg("suggest", predicted, "--json").json["volumes"][-1]
    assert last["case"] == first
    assert (last["flag"], last["skipped"]) == ("metal artefact", True)
    status = semiseg("status", predicted, "--json").json
    rows = {row["id"]: row for row in status["cases"]}
    assert (rows[first]["flag"], rows[first]["skipped"]) == ("metal artefact", True)
    assert not {"flag", "skipped"} & rows["case_0"].keys()
    assert "flagged: metal artefact, skipped" in semiseg("status", predicted).out
    assert semiseg("flag", predicted, first, "--clear", "--json").json["flags"] == {
        first: None
    }


def test_only_known_cases_are_flagged_and_none_of_them_otherwise(
    semiseg, predicted
) -> None:
    assert "case_9" in semiseg("flag", predicted, "case_2", "case_9").refusal
    rows = semiseg("status", predicted, "--json").json["cases"]
    assert not any("flag" in row for row in rows)
    both = ("--comment", "x", "--clear")
    assert "--clear" in semiseg("flag", predicted, "case_2", *both).refusal


def test_suggest_by_strategy_plane_and_list(semiseg, predicted, tmp_path) -> None:
    (tmp_path / "some.list").write_text("case_3\n")
    words = ("suggest", predicted, "--strategy", "spread", "--plane", "sagittal")
    found = semiseg(*words, "--cases", tmp_path / "some.list", "--json").json
    assert [item["case"] for item in found["volumes"]] == ["case_3"]
    assert {item["axis"] for item in found["slices"]} == {2}
    assert "axial" in semiseg("suggest", predicted, "--plane", "x").refusal
    draws = [
        semiseg("suggest", predicted, "--strategy", "random", "--seed", seed, "--json")
        for seed in (1, 1, 2, 3, 4)
    ]
    assert draws[0].json == draws[1].json
    assert len({draw.out for draw in draws}) > 1


def test_refine_says_what_changed_and_which_structures_there_are(
    semiseg, ball_project, run
) -> None:
    folder = ball_project.folder
    refused = semiseg("refine", folder, "case_2", "--lock", "aorta")
    assert refused.code == 1
    assert "expected a structure out of left atrium, found 'aorta'" in refused.err
    case = ball_project.case("case_2")
    _, predicted = run.read_mask(case, case.geometry)
    p = np.where(predicted, 0.9, 0.1)
    logs = np.log(np.stack([1 - p, p]))
    maps = FeatureMaps(np.round((1 - logs / LOWEST_LOG) * 255).astype(np.uint8))
    made = replace(run.read_prediction(case, case.geometry), feature_maps=maps)
    run.write_prediction(made, case.image)
    mask = np.full_like(predicted, 255)
    mask[11] = predicted[11]
    ball_project.save_draft(case, mask)
    answer = semiseg("refine", folder, "case_2", "--json").json
    volume = int(np.count_nonzero(predicted) - np.count_nonzero(predicted[11]))
    assert answer["case"] == "case_2"
    assert answer["run"] == run.id
    assert answer["changed_voxels"] == pytest.approx(volume, rel=0.05)


def test_compare_says_what_a_model_changed(
    semiseg, corrected, predict_ball, ball_project
) -> None:
    folder, first = corrected.folder, corrected.latest_run()
    second = Run.create(corrected, TrainingConfig())
    names = first.predicted()
    for name in names:
        case = corrected.case(name)
        made = predict_ball(second, case, uncertainty=0.15)
        moved = replace(made, labels=np.roll(made.labels, 8 * (name == names[-1]), 2))
        second.write_prediction(moved, case.image)
    answer = semiseg("compare", folder, "--json").json
    assert (answer["run"], answer["before"]) == (second.id, first.id)
    assert answer["notable"] == [names[-1]]
    assert answer["cases"][0]["id"] == names[-1]
    assert {item["id"] for item in answer["cases"]} == {*names[5:]}
    assert answer["estimated_dice_before"] < answer["estimated_dice"]
    out = semiseg("compare", folder, "--run", second.id, "--before", first.id).out
    assert f"{second.id} against {first.id}: 1 of 3 cases changed notably" in out
    assert "Estimated Dice: 0." in out
    assert semiseg("compare", folder, "--before", "ghost").code == 1


def test_assist_proposes_from_marks(semiseg, ball_project, tmp_path) -> None:
    folder, case = ball_project.folder, ball_project.case("case_2")
    truth = case.read_image().data > 50
    z, y, x = np.argwhere(truth)[truth.sum() // 2]
    marks = ("--point", f"{z},{y},{x}", "--off", "1,1,1", "--off", "22,22,22")
    answer = semiseg("assist", folder, "case_2", *marks, "--json").json
    assert answer["volume_ml"] == pytest.approx(0.002 * truth.sum(), rel=0.3)
    assert (answer["assistant"], answer["label"]) == ("geodesic", "left atrium")
    assert ball_project.case("case_2").has_draft
    mask = np.zeros(truth.shape, np.uint8)
    mask[z, y, x - 2 : x + 2] = 1
    mask[z, 1] = 2
    strokes = tmp_path / "strokes.nii.gz"
    write_labels(strokes, mask, case.geometry, case.image)
    said = semiseg("assist", folder, "case_2", "--strokes", strokes, "--structure",
                   "left atrium", "--assistant", "grow")  # fmt: skip
    assert "mL are proposed; open it, look, and accept." in said.out
    for wrong, words in (
        (("--point", "1,2"), "expected a point as 3 voxel indices"),
        (("--box", "1,2,3,4,5,x"), "expected a box as 6 voxel indices"),
        (("--point", "99,1,1"), "within the volume"),
        (("--point", f"{z},{y},{x}"), "mark some background around it too"),
        ((*marks, "--assistant", "nobody"), "expected an assistant out of"),
        ((*marks, "--structure", "aorta"), "expected a structure out of left atrium"),
        ((*marks, "--lock", "left atrium"), "locked"),
        ((*marks, "--channel", "3"), "channel"),
    ):
        assert words in semiseg("assist", folder, "case_2", *wrong).refusal


def test_readers_are_compared_and_combined(semiseg, ball_project, tmp_path) -> None:
    anna = tmp_path / "anna"
    anna.mkdir()
    label = ball_project.case("case_0").folder.label
    shutil.copy(label, anna / "case_0.nii.gz")
    words = ("readers", ball_project.folder)
    assert "give both" in semiseg(*words, "--masks", anna).refusal
    assert "found fewer for case_0" in semiseg(*words).refusal
    answer = semiseg(*words, "--masks", anna, "--reader", "Anna", "--json")
    assert answer.json["added"] == ["case_0"]
    (case,) = answer.json["cases"]
    (pair,) = case["pairs"]
    assert pair["readers"] == ["label", "Anna"]
    assert [one["dice"] for one in pair["classes"].values()] == [1.0]
    assert case["slices"] == []
    assert answer.json["consensus"] is None
    answer = semiseg(*words, "--consensus")
    assert "label - Anna" in answer.out
    assert "1 consensus mask proposed in" in answer.out
    assert ball_project.runs()[-1].has_prediction("case_0")
