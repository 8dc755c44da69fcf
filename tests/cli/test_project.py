from __future__ import annotations

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.palettes import PALETTES
from napari_semiseg.project.runs.run import Run


def test_colours_are_shown_and_changed(semiseg, tmp_path) -> None:
    folder = tmp_path / "heart"
    semiseg("init", folder, "--label", "1=atrium", "--label", "2=wall")
    names = ("atrium", "wall")
    before = dict(zip(names, PALETTES["okabe-ito"][:2], strict=True))
    assert semiseg("colours", folder, "--json").json == {"colours": before}
    after = dict(zip(names, PALETTES["bright"][:2], strict=True))
    words = ("colours", folder, "--palette", "bright", "--json")
    assert semiseg(*words).json == {"colours": after}
    assert semiseg("colours", folder).out.split("\n")[:2] == [
        f"{after['atrium']}  1=atrium",
        f"{after['wall']}  2=wall",
    ]


def test_an_unknown_palette_changes_nothing(semiseg, empty_project) -> None:
    folder = empty_project.folder
    before = semiseg("colours", folder, "--json").json
    refusal = semiseg("colours", folder, "--palette", "rainbow").refusal
    assert "okabe-ito, bright, vibrant" in refusal
    assert "rainbow" in refusal
    assert semiseg("colours", folder, "--json").json == before


def test_status_names_the_bad_parts_and_shows_all_others(ball_project, semiseg) -> None:
    good = Run.create(ball_project, TrainingConfig(steps=5))
    ball_project.layout.run("empty").path.mkdir()
    ball_project.layout.case("case_0").json.write_text("{")
    found = semiseg("status", ball_project.folder, "--json").json
    assert [case["id"] for case in found["cases"]] == [
        f"case_{number}" for number in range(1, 5)
    ]
    assert sorted(run["id"] for run in found["runs"]) == sorted([good.id, "empty"])
    assert set(found["problems"]) == {"case_0", "empty"}
    shown = semiseg("status", ball_project.folder).out
    assert "case_0 cannot be read" in shown
    assert "semiseg doctor" in shown
