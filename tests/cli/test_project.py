from __future__ import annotations

from napari_semiseg.core.palettes import PALETTES


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
