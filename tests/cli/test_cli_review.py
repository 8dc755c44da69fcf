from __future__ import annotations

import pytest


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
