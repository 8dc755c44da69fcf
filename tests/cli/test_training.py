"""Labels taken in by a running training, and rounds that begin with the last model."""

from __future__ import annotations

from napari_semiseg.core.events import Learned


def test_the_next_round_has_the_method_and_parameters_of_the_last(
    semiseg, engine, ball_project
) -> None:
    folder = ball_project.folder
    settings = ("--set", "ema_decay=0.9", "--set", "width=8")
    first = semiseg("train", folder, "--method", "dtml", *settings, "--json").json
    again = semiseg("train", folder, "--from", first["run"], "--minutes", 3, "--json")
    config = engine.configs[-1]
    assert config.start_from == first["run"]
    assert (config.method, config.params) == ("dtml", {"ema_decay": 0.9})
    assert (config.minutes, config.shrink, config.perturb) == (3, 0.8, 0.05)
    semiseg("train", folder, "--from", first["run"], "--set", "shrink=0.5")
    assert engine.configs[-1].shrink == 0.5
    semiseg("train", folder, "--from", first["run"], "--method", "ug_mcl")
    assert (engine.configs[-1].method, engine.configs[-1].params) == ("ug_mcl", {})
    runs = semiseg("status", folder, "--json").json["runs"]
    begun = {row["id"]: row["from"] for row in runs}
    assert begun[first["run"]] is None
    assert begun[again.json["run"]] == first["run"]


def test_a_run_that_is_not_there_cannot_be_begun_with(
    semiseg, engine, ball_project
) -> None:
    said = semiseg("train", ball_project.folder, "--from", "ghost").refusal
    assert "found 'ghost'" in said
    assert ball_project.runs() == []


def test_status_lists_the_labels_that_were_taken_in(
    semiseg, engine, ball_project
) -> None:
    folder = ball_project.folder
    name = semiseg("train", folder, "--json").json["run"]
    run = ball_project.run(name)
    run.append(Learned(step=2, cases=("case_2", "case_3"), labelled=4, unlabelled=1))
    run.append(Learned(step=3, cases=(), dropped=("case_2",), labelled=3, unlabelled=2))
    rows = semiseg("status", folder, "--json").json["runs"]
    assert rows[0]["learned"] == [
        {"step": 2, "cases": ["case_2", "case_3"], "dropped": []},
        {"step": 3, "cases": [], "dropped": ["case_2"]},
    ]
    table = semiseg("status", folder).out
    assert "labels taken in" in table
