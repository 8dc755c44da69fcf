"""Projects of format 1 become projects of format 2, also piece by piece."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from napari_semiseg.errors import ProjectError
from napari_semiseg.project import doctor
from napari_semiseg.project.cases.history import Labelled, Remarked
from napari_semiseg.project.doctor import check_project
from napari_semiseg.project.project import Project

SAMPLE = Path(__file__).parents[1] / "contract" / "format1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of a project of format 1 with the images it refers to."""
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    return tmp_path / "atrium"


@pytest.mark.parametrize("survived", [0, 1, 5, 14])
def test_a_migration_that_was_killed_goes_on(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    shutil.copytree(SAMPLE, tmp_path / "whole")
    whole = tmp_path / "whole" / "atrium"
    migrate, done = doctor.migrate_file, 0

    def killed(path: Path) -> None:
        nonlocal done
        if done == survived:
            raise KeyboardInterrupt
        done += 1
        migrate(path)

    with monkeypatch.context() as patch:
        patch.setattr(doctor, "migrate_file", killed)
        with pytest.raises(KeyboardInterrupt):
            check_project(old, mend=True)
    with pytest.raises(ProjectError, match="--mend"):
        Project.open(old)
    check_project(old, mend=True)
    check_project(whole, mend=True)
    for path in sorted(whole.rglob("*.json")):
        assert (old / path.relative_to(whole)).read_bytes() == path.read_bytes()


def test_what_format_2_has_no_field_for_is_kept(old: Path) -> None:
    path = old / "cases" / "whole" / "case.json"
    record = json.loads(path.read_text())
    label = next(e for e in record["history"] if e["action"] == "label")
    label["details"]["pen"] = {"width": 3}
    record["history"].append(
        {"action": "praise", "by": "Ada", "at": 1.5, "details": {"stars": 5}}
    )
    path.write_text(json.dumps(record))
    check_project(old, mend=True)
    history = Project.open(old).case("whole").record.history
    assert next(e for e in history if isinstance(e, Labelled)).remarks == {
        "pen": {"width": 3}
    }
    assert history[-1] == Remarked(
        by="Ada", at=1.5, remarks={"action": "praise", "stars": 5}
    )


def test_a_record_that_cannot_be_migrated_is_set_aside(old: Path) -> None:
    path = old / "cases" / "whole" / "case.json"
    record = json.loads(path.read_text())
    del record["sha256"]
    path.write_text(json.dumps(record))
    before = path.read_bytes()
    problems = [one.problem for one in check_project(old, mend=True).findings]
    assert "sha256" in problems[1]
    (aside,) = (old / "set-aside").rglob("case.json")
    assert aside.read_bytes() == before
    assert "whole" not in [case.id for case in Project.open(old).cases()]
    assert (old / "cases" / "whole" / "label.nii.gz").exists()


def test_comments_in_the_settings_stay(old: Path) -> None:
    path = old / "project.toml"
    path.write_text("# atrium of the left heart\n" + path.read_text())
    check_project(old, mend=True)
    assert path.read_text().startswith("# atrium of the left heart\nformat = 2\n")


def test_settings_without_a_format_are_of_format_1(old: Path) -> None:
    path = old / "project.toml"
    path.write_text(path.read_text().replace("format = 1\n", ""))
    with pytest.raises(ProjectError, match="--mend"):
        Project.open(old)
    check_project(old, mend=True)
    assert len(Project.open(old).cases()) == 12


def test_an_old_case_in_a_new_project_is_migrated_too(old: Path) -> None:
    before = (old / "cases" / "whole" / "case.json").read_bytes()
    check_project(old, mend=True)
    (old / "cases" / "whole" / "case.json").write_bytes(before)
    with pytest.raises(ProjectError, match="--mend"):
        Project.open(old).case("whole")
    check_project(old, mend=True)
    assert len(Project.open(old).case("whole").record.history) == 4
