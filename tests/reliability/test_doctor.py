from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from faulty import refused, semiseg

from dicom_files import contour, square, structure_set, write_oblique_series
from napari_semiseg.core.case import CaseState
from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Started
from napari_semiseg.errors import ProjectError, SemisegError
from napari_semiseg.io.atomic import machine
from napari_semiseg.project.doctor import ASIDE, check_project
from napari_semiseg.project.project import Project
from napari_semiseg.project.review.readers import add_reader
from napari_semiseg.project.runs.run import Run
from synthetic import SIZE, ball, save_nifti, snapshot


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def found(project: Project, **options) -> dict[str, str]:
    """Problems by path."""
    findings = check_project(project.folder, **options).findings
    return {item.path: item.problem for item in findings}


def test_a_sound_project_has_no_findings(ball_project, predicted_run) -> None:
    before = snapshot(ball_project.folder)
    diagnosis = check_project(ball_project.folder, mend=True)
    assert diagnosis.findings == []
    assert (diagnosis.cases, diagnosis.runs) == (5, 1)
    assert snapshot(ball_project.folder) == before


def test_without_mend_nothing_is_written(ball_project, predicted_run, spheres) -> None:
    damage(ball_project, predicted_run)
    before = snapshot(ball_project.folder)
    assert len(found(ball_project)) == 8
    assert snapshot(ball_project.folder) == before


def damage(project: Project, run: Run) -> dict[str, str]:
    """Break what can break; paths and words of the findings."""
    layout = project.layout
    layout.case("case_4").json.write_text("{torn")
    torn = layout.case("case_0").label
    project.set_label("case_0", np.zeros((SIZE,) * 3, np.uint8))
    torn.write_bytes(torn.read_bytes()[:100])
    save_nifti(layout.case("case_2").draft, ball(1), shift=9.0)
    left = layout.case("case_1").path / f".tmp-{machine()}-{dead_pid()}-abc.nii.gz"
    left.write_bytes(b"half")
    sdm = run.folder.prediction("case_3").sdm
    sdm.write_bytes(sdm.read_bytes()[:200])
    run.folder.checkpoints.mkdir()
    with zipfile.ZipFile(run.folder.last, "w") as file:
        file.writestr("data", bytes(1000))
    content = bytearray(run.folder.last.read_bytes())
    content[200] ^= 1
    run.folder.last.write_bytes(bytes(content))
    stray = run.folder.prediction("ghost").path
    shutil.copytree(run.folder.prediction("case_3").path, stray)
    never = Run.create(project, TrainingConfig())
    never.claim(dead_pid())
    base = f"runs/{run.id}"
    return {
        "cases/case_4/case.json": "expected JSON",
        "cases/case_0/label.nii.gz": "expected",
        "cases/case_2/draft.nii.gz": "grid",
        str(left.relative_to(project.folder)): "interrupted",
        f"{base}/predictions/case_3": "expected",
        f"{base}/predictions/ghost": "no case",
        f"{base}/checkpoints/last.pt": "damaged checkpoint",
        f"runs/{never.id}": "never began",
    }


def test_everything_that_broke_is_told_and_mended(ball_project, predicted_run) -> None:
    expected = damage(ball_project, predicted_run)
    old = ball_project.folder / "cases/case_0/previous"
    kept = sorted(old.glob("[0-9]*.nii.gz"))[-1].read_bytes()
    problems = found(ball_project, mend=True)
    assert set(problems) == set(expected)
    for path, words in expected.items():
        assert words in problems[path], (path, problems[path])
    project = Project.open(ball_project.folder)
    assert {case.id for case in project.cases()} == {f"case_{i}" for i in range(4)}
    # The newest kept label that fits is the label again.
    assert project.case("case_0").state is CaseState.LABELLED
    assert project.layout.case("case_0").label.read_bytes() == kept
    assert project.runs() == [predicted_run]
    assert project.run(predicted_run.id).predicted() == ()
    # Nothing was deleted but the unfinished file.
    aside = [path for path in snapshot(ball_project.folder / ASIDE) if "." in path]
    for path in expected:
        moved = any(path in name for name in aside)
        assert moved != (".tmp-" in path), path
    # What is left: the case whose record is aside has no record.
    assert list(found(project)) == ["cases/case_4"]
    project.add(ball_project.folder.parent / "cohort" / "images" / "case_4.nii.gz")
    assert found(project) == {}


def test_images_that_are_missing_are_found_again(ball_project, spheres, tmp_path):
    spheres.images.rename(tmp_path / "archive")
    problems = check_project(ball_project.folder, mend=True).findings
    assert {item.kind for item in problems} == {"image"}
    assert len(problems) == 5
    assert all("--images" in item.remedy and not item.mended for item in problems)
    done = check_project(ball_project.folder, mend=True, images=tmp_path / "archive")
    assert len(done.findings) == 5
    assert done.open == []
    assert found(ball_project) == {}


@pytest.fixture
def read(ball_project, spheres) -> Path:
    """The mask of a second reader."""
    add_reader(ball_project, "Anna B", spheres.masks, ["case_0"])
    assert found(ball_project) == {}
    return ball_project.case("case_0").folder.reader("Anna B")


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def moved(path: Path) -> None:
    save_nifti(path, ball(1), shift=9.0)


def cropped(path: Path) -> None:
    save_nifti(path, ball(1)[1:])


def of_no_class(path: Path) -> None:
    save_nifti(path, 99 * ball(1))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (torn, "expected"),
        (moved, "grid"),
        (cropped, "grid"),
        (of_no_class, "1=left atrium"),
    ],
)
def test_the_mask_of_a_reader_that_cannot_be_used_is_set_aside(
    ball_project, read, damage, words
) -> None:
    label = ball_project.case("case_0").folder.label.read_bytes()
    damage(read)
    broken = read.read_bytes()
    problems = found(ball_project, mend=True)
    place = "cases/case_0/readers/Anna B.nii.gz"
    assert list(problems) == [place]
    assert words in problems[place]
    (aside,) = (ball_project.folder / ASIDE).rglob("Anna B.nii.gz")
    assert aside.read_bytes() == broken
    assert ball_project.case("case_0").folder.label.read_bytes() == label


def test_the_mask_of_a_reader_that_is_gone_is_told(ball_project, read, spheres) -> None:
    read.unlink()
    (finding,) = check_project(ball_project.folder, mend=True).findings
    assert (finding.kind, finding.problem, finding.mended) == (
        "mask",
        "is missing",
        False,
    )
    assert "--reader 'Anna B'" in finding.remedy
    add_reader(ball_project, "Anna B", spheres.masks, ["case_0"])
    assert found(ball_project) == {}


def test_an_image_that_changed_is_told(ball_project, spheres) -> None:
    save_nifti(spheres.images / "case_1.nii.gz", 3 * ball(1))
    problems = found(ball_project, mend=True)
    assert list(problems) == ["cases/case_1/case.json"]
    assert "changed" in problems["cases/case_1/case.json"]


def test_a_dead_run_that_looks_alive_is_told(ball_project, predicted_run) -> None:
    gone = dead_pid()
    predicted_run.claim(gone)
    predicted_run.append(Started(run=predicted_run.id, method="ug_mcl", pid=gone))
    problems = found(ball_project)
    assert problems == {f"runs/{predicted_run.id}": "was interrupted at step 0"}


def test_settings_that_are_torn_are_all_that_is_told(ball_project) -> None:
    ball_project.layout.project_file.write_text("format = ")
    findings = check_project(ball_project.folder, mend=True).findings
    assert [(item.kind, item.mendable) for item in findings] == [("settings", False)]
    with pytest.raises(ProjectError, match="nothing there"):
        check_project(ball_project.folder / "none")


def test_a_link_that_leads_out_is_set_aside(ball_project, tmp_path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(ball_project.layout.case("case_1").path, outside)
    before = snapshot(outside)
    shutil.rmtree(ball_project.layout.case("case_1").path)
    os.symlink(outside, ball_project.layout.case("case_1").path)
    problems = found(ball_project, mend=True)
    assert "leads out" in problems["cases/case_1"]
    assert snapshot(outside) == before
    assert found(ball_project) == {}


def test_the_verb_reports_in_words_and_as_json(ball_project, predicted_run) -> None:
    assert semiseg("doctor", ball_project.folder).returncode == 0
    ball_project.layout.case("case_4").json.write_text("{torn")
    told = semiseg("doctor", ball_project.folder)
    assert told.returncode == 1
    assert "Found cases/case_4/case.json: expected JSON" in told.stdout
    assert "--mend" in told.stdout
    done = semiseg("doctor", ball_project.folder, "--mend", "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 0
    assert said["open"] == 0
    assert [item["mended"] for item in said["findings"]] == [True]
    assert "--images" in refused(
        semiseg("doctor", ball_project.folder, "--images", "x")
    )
    assert "PROJECT" in refused(semiseg("doctor", "--mend"))


STRAY = (".DS_Store", "notes.txt", "structures.dcm")


def test_what_comes_to_lie_beside_a_series_is_no_change_of_it(tmp_path) -> None:
    folder = write_oblique_series(tmp_path / "scan")
    project = Project.create(tmp_path / "p", {"ball": 1})
    assert list(project.add(folder).added) == ["scan"]
    (folder / ".DS_Store").write_bytes(bytes(500))
    (folder / "notes.txt").write_text("seen")
    geometry = project.case("scan").geometry
    drawn = {"atrium": [contour(geometry, 2, square(1.5, 5.5))]}
    structure_set(folder / "structures.dcm", drawn)
    assert found(project) == {}
    assert project.case("scan").read_image().data.shape == geometry.shape_zyx
    next(path for path in folder.iterdir() if path.name not in STRAY).unlink()
    assert found(project) != {}


DETACHED = {
    "other name": ("a.mhd", "ElementDataFile = other.raw\n", ["other.raw"]),
    "list": ("a.mhd", "ElementDataFile = LIST\n{}\n", []),
    "list of planes": ("a.mhd", "ElementDataFile = LIST 2\n{}\n", []),
    "numbers": ("a.mhd", "ElementDataFile = vox/%05d.dat 1 600 1\n", []),
    "nrrd": ("a.nhdr", "data file: vox/any name.dat\n", ["vox/any name.dat"]),
    "nrrd list": ("a.nhdr", "data file: LIST\n{}\n", []),
    "nrrd numbers": ("a.nhdr", "data file: vox/%05d.dat 1 600 1 2\n", []),
}
HEADERS = {
    "a.mhd": "ObjectType = Image\nNDims = 3\nDimSize = 4 5 600\n"
    "ElementSpacing = 1 1 1\nElementType = MET_UCHAR\n",
    "a.nhdr": "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 5 600\nspacings: 1 1 1\n"
    "encoding: raw\n",
}


@pytest.mark.parametrize("kind", DETACHED)
def test_voxels_beside_their_header_count_as_the_image(kind, tmp_path) -> None:
    header, where, files = DETACHED[kind]
    folder = tmp_path / "images"
    (folder / "vox").mkdir(parents=True)
    # As long a list as to fill more than a header's first 64 KiB, in long names.
    several = [f"vox/{number:05d}.dat" for number in range(1, 601)]
    if "list" in kind:
        several = [f"vox/{'n' * 150}{number}.dat" for number in range(600)]
    voxels = np.random.default_rng(0).integers(0, 200, (600, 5, 4), np.uint8)
    for number, name in enumerate(files or several):
        part = voxels if files else voxels[number]
        (folder / name).write_bytes(part.tobytes())
    text = HEADERS[header] + where.replace("{}", "\n".join(several))
    (folder / header).write_text(text)
    (folder / "notes.txt").write_text("no part of it")
    project = Project.create(tmp_path / "p", {"ball": 1})
    assert list(project.add(folder).added) == ["a"]
    assert project.case("a").read_image().data.shape == (600, 5, 4)
    assert found(project) == {}
    (folder / "notes.txt").write_text("nor is this")
    assert found(project) == {}
    last = folder / (files or several)[-1]
    last.write_bytes(bytes(len(last.read_bytes())))
    assert "changed" in found(project)["cases/a/case.json"]
    with pytest.raises(SemisegError, match="changed"):
        project.case("a").read_image()
