"""One bad part does not stop the others: cases, runs, settings that were damaged."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.errors import ProjectError
from napari_semiseg.project.cases.labels import done_slices
from napari_semiseg.project.doctor import check_project
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CASES: dict[str, Callable[[Path], object]] = {
    "no JSON": lambda folder: (folder / "case.json").write_text("{"),
    "nothing in it": lambda folder: (folder / "case.json").write_bytes(b""),
    "zeros": lambda folder: (folder / "case.json").write_bytes(b"\0" * 99),
    "a list": lambda folder: (folder / "case.json").write_text("[]"),
    "deep": lambda folder: (folder / "case.json").write_text("[" * 99_999),
    "no text": lambda folder: (folder / "case.json").write_bytes(b"\xff\xfe\x00"),
    "a folder": lambda folder: (
        (folder / "case.json").unlink(),
        (folder / "case.json").mkdir(),
    ),
    "renamed": lambda folder: folder.rename(folder.with_name("z")),
    "copied": lambda folder: shutil.copytree(folder, folder.with_name("z")),
    "torn label": lambda folder: (folder / "label.nii.gz").write_bytes(b"1"),
}


def kept(folder: Path) -> dict[str, bytes]:
    """Every mask and checkpoint, by its bytes: where it is does not matter."""
    files = (*folder.rglob("label.nii.gz"), *folder.rglob("last.pt"))
    return {str(path.read_bytes()): path.read_bytes() for path in files}


@pytest.mark.parametrize("how", CASES)
def test_the_other_cases_are_read_beside_a_damaged_one(ball_project, how) -> None:
    CASES[how](ball_project.layout.case("case_0").path)
    masks = kept(ball_project.folder)
    project, problems = Project.open(ball_project.folder), {}
    found = [case.id for case in project.cases(problems=problems)]
    assert set(found) >= {f"case_{number}" for number in range(1, 5)}
    (folder,) = problems
    assert folder in ("case_0", "z")
    assert "\n" not in problems[folder]
    assert "delete" not in problems[folder]
    with pytest.raises(ProjectError if how != "torn label" else Exception):
        project.cases()
    check_project(project.folder, mend=True)
    mended = Project.open(project.folder)
    assert {case.id for case in mended.cases()} >= set(found)
    assert kept(project.folder).keys() >= masks.keys()


def test_a_renamed_case_gets_its_name_back_and_a_copy_goes_aside(ball_project) -> None:
    folder = ball_project.layout.case("case_0").path
    folder.rename(folder.with_name("renamed"))
    other = ball_project.layout.case("case_1").path
    shutil.copytree(other, other.with_name("case_1 - Copy"))
    found = check_project(ball_project.folder, mend=True).findings
    assert [item.path for item in found] == ["cases/case_1 - Copy", "cases/renamed"]
    assert all(item.mended for item in found)
    cases = Project.open(ball_project.folder).cases()
    assert [case.id for case in cases] == [f"case_{number}" for number in range(5)]
    assert cases[0].has_label
    aside = ball_project.folder / "set-aside"
    assert len([*aside.rglob("case_1 - Copy/label.nii.gz")]) == 1


def test_a_byte_order_mark_before_settings_and_records_is_no_damage(
    ball_project,
) -> None:
    run = Run.create(ball_project, TrainingConfig(steps=9))
    for path in (
        ball_project.layout.project_file,
        run.folder.config,
        run.folder.environment,
        *(case.folder.json for case in ball_project.cases()),
    ):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    project = Project.open(ball_project.folder)
    assert len(project.cases()) == 5
    assert project.runs()[0].config == run.config


def test_a_case_folder_that_is_deleted_meanwhile_is_a_case_that_is_not_there(
    ball_project, monkeypatch
) -> None:
    case = ball_project.case("case_0")
    shutil.rmtree(case.folder.path)
    assert [item.id for item in ball_project.cases()] == [
        f"case_{number}" for number in range(1, 5)
    ]
    for work in (
        lambda: ball_project.case("case_0"),
        lambda: ball_project.set_excluded("case_0", True),
        lambda: ball_project.set_split(case, "test"),
        lambda: ball_project.set_label(case, case.geometry.shape_zyx),
        lambda: ball_project.save_draft(case, 0),
        lambda: ball_project.note(case, case.record.history[0]),
        lambda: ball_project.amend(case, case.record.history[0]),
    ):
        with pytest.raises(ProjectError, match="expected a case of the project"):
            work()
    # Deleted between the listing and the reading.
    monkeypatch.setattr(
        ball_project._records, "ids", lambda: ["case_0", "case_1"], raising=True
    )
    assert [item.id for item in ball_project.cases()] == ["case_1"]


def trained(project: Project) -> Run:
    run = Run.create(project, TrainingConfig(method="dtml", steps=9))
    run.append(Started(run=run.id, method="dtml", pid=1))
    run.append(Finished(run=run.id, reason="completed", step=9, seconds=1))
    run.folder.checkpoints.mkdir()
    run.folder.last.write_bytes(b"weights")
    return run


@pytest.mark.parametrize("content", [None, b"", b"\0" * 50, b"\xff", b"steps = ["])
def test_a_run_without_its_settings_is_shown_and_never_set_aside(
    ball_project, content
) -> None:
    run = trained(ball_project)
    run.folder.config.unlink()
    if content is not None:
        run.folder.config.write_bytes(content)
    again = Project.open(ball_project.folder).run(run.id)
    assert (again.method, again.status, again.steps_done) == ("dtml", "completed", 9)
    (finding,) = check_project(ball_project.folder, mend=True).findings
    assert not finding.mendable
    assert "restore" in finding.remedy
    assert run.folder.last.read_bytes() == b"weights"


@pytest.mark.parametrize("log", [None, b"", b"\0" * 99])
def test_doctor_leaves_a_trained_run_without_its_log(ball_project, log) -> None:
    run = trained(ball_project)
    run.folder.last.write_bytes(_zip())
    run.folder.events.unlink()
    if log is not None:
        run.folder.events.write_bytes(log)
    run.folder.pid.unlink()
    (finding,) = check_project(ball_project.folder, mend=True).findings
    assert not finding.mendable
    assert run.folder.last.exists()


def _zip() -> bytes:
    import io
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("archive/data.pkl", json.dumps({}))
    return stream.getvalue()


def test_an_empty_run_folder_is_shown_and_set_aside(ball_project) -> None:
    ball_project.layout.run("empty").path.mkdir(parents=True)
    run = ball_project.run("empty")
    assert (run.method, run.status, run.steps_done) == (None, "interrupted", 0)
    assert check_project(ball_project.folder, mend=True).findings[0].mended
    assert Project.open(ball_project.folder).runs() == []


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_history_with_numbers_that_are_none_is_refused_in_one_line(
    ball_project, value
) -> None:
    path = ball_project.layout.case("case_0").json
    values = json.loads(path.read_text())
    values["history"][-1]["minutes"] = "HERE"
    path.write_text(json.dumps(values).replace('"HERE"', value))
    problems: dict[str, str] = {}
    assert len(Project.open(ball_project.folder).cases(problems=problems)) == 4
    assert "minutes" in problems["case_0"]
    assert "\n" not in problems["case_0"]


def test_done_slices_of_a_damaged_history_stay_in_the_image(ball_project) -> None:
    path = ball_project.layout.case("case_0").json
    values = json.loads(path.read_text())
    ranges = [[[22, 10**12]], [[5, 2], [-(10**12), 1]], []]
    values["history"][-1] |= {"done_slices": ranges, "annotated_fraction": 0.5}
    path.write_text(json.dumps(values))
    case = Project.open(ball_project.folder).case("case_0")
    assert done_slices(case) == ({22, 23}, {0, 1}, set())
