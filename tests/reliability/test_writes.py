"""Disks that are full, folders that may not be written, shares that are slow."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from faulty import as_anybody, no_file_above, refused, semiseg

from napari_semiseg.errors import ProjectError
from napari_semiseg.io import atomic
from napari_semiseg.project.project import Project
from synthetic import SIZE, ball, snapshot

POSIX = pytest.mark.skipif(os.name != "posix", reason="limits and rights of POSIX")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="prctl")


class FullAfter:
    """Let the writes behind the first few fail as on a full disk."""

    def __init__(self, writes: int) -> None:
        self.left = writes
        self.flush = atomic._flush

    def __call__(self, path: Path) -> None:
        if self.left == 0:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= 1
        self.flush(path)


def masks_are_whole(project: Project) -> None:
    for case in Project.open(project.folder).cases():
        case.read_label()
        case.read_draft()
    for path in project.folder.rglob("*.nii.gz"):
        np.asarray(nib.load(path).dataobj)
    assert not list(project.folder.rglob(".tmp-*"))


def files(folder: Path) -> dict[str, bytes]:
    """All files with their contents; an empty folder is no harm."""
    return {name: data for name, data in snapshot(folder).items() if data != b"dir"}


@pytest.mark.parametrize("verb", ["label", "draft", "add", "predict", "export", "note"])
def test_a_disk_that_is_full_at_any_write_loses_nothing(
    ball_project, predicted_run, predict_ball, tmp_path, monkeypatch, verb
) -> None:
    project = ball_project
    other = tmp_path / "more" / "new.nii.gz"
    other.parent.mkdir()
    shutil.copy(project.case("case_4").image, other)
    case = project.case("case_3")
    label = np.zeros((SIZE,) * 3, np.uint8)
    act = {
        "label": lambda: project.set_label("case_0", label),
        "draft": lambda: project.save_draft("case_0", label),
        "add": lambda: project.add(other),
        "predict": lambda: predicted_run.write_prediction(
            predict_ball(predicted_run, case), case.image
        ),
        "export": lambda: project.export(tmp_path / "out"),
        "note": lambda: project.set_excluded("case_1", True),
    }[verb]
    before = project.layout.case("case_0").label.read_bytes()
    failures = 0
    for writes in range(12):
        monkeypatch.setattr(atomic, "_flush", FullAfter(writes))
        try:
            act()
            break
        except ProjectError as error:
            said = str(error)
            failures += 1
        finally:
            monkeypatch.undo()
        assert "No space left" in said
        assert "\n" not in said
        masks_are_whole(project)
        copies = [project.layout.case("case_0").label]
        copies += project.layout.case("case_0").previous.glob("[0-9]*.nii.gz")
        assert before in [path.read_bytes() for path in copies]
        assert not list((tmp_path / "out").rglob(".tmp-*"))
        assert not (tmp_path / "out" / "manifest.json").exists()
    else:
        pytest.fail("it never works")
    assert failures >= 1
    masks_are_whole(project)


@POSIX
@pytest.mark.parametrize("size", [0, 200])
def test_a_write_that_stops_half_way_is_one_line(ball_project, spheres, size) -> None:
    before = files(ball_project.folder)
    verbs = (
        ("label", ball_project.folder, "--masks", spheres.masks),
        ("export", ball_project.folder, ball_project.folder.parent / "out"),
    )
    for words in verbs:
        said = refused(semiseg(*words, before=no_file_above(size)))
        assert "expected to write this file" in said
        assert "space left" in said
        assert files(ball_project.folder) == before


@LINUX
def test_a_folder_that_may_not_be_written_is_read_and_named(
    ball_project, spheres, tmp_path
) -> None:
    folders = [ball_project.folder, *ball_project.folder.rglob("*/")]
    before = snapshot(ball_project.folder)
    out = tmp_path / "out"
    for folder in folders:
        folder.chmod(0o555)
    try:
        shown = semiseg("status", ball_project.folder, "--json", before=as_anybody)
        assert len(json.loads(shown.stdout)["cases"]) == 5
        assert (
            semiseg("export", ball_project.folder, out, before=as_anybody).returncode
            == 0
        )
        for words in (
            ("label", ball_project.folder, "--masks", spheres.masks),
            ("add", ball_project.folder, spheres.masks),
            ("init", ball_project.folder / "cases" / "new", "--label", "1=a"),
        ):
            said = refused(semiseg(*words, before=as_anybody))
            assert "Permission denied" in said
            assert str(ball_project.folder) in said
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert snapshot(ball_project.folder) == before


@pytest.mark.parametrize("answer", [errno.EBUSY, errno.ESTALE, errno.EAGAIN])
def test_a_share_that_renames_late_is_waited_for(
    ball_project, monkeypatch, answer
) -> None:
    label = ball(3).T.copy()
    refusals = [OSError(answer, os.strerror(answer))] * 3
    replace = os.replace

    def late(source: Path, target: Path) -> None:
        if refusals:
            raise refusals.pop()
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", late)
    ball_project.set_label("case_2", label)
    assert not refusals
    assert np.array_equal(ball_project.case("case_2").read_label(), label)


def test_a_share_that_never_renames_is_told(ball_project, monkeypatch) -> None:
    before = snapshot(ball_project.folder)

    def never(*_paths: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(atomic, "WAITS_S", (0.0, 0.0))
    monkeypatch.setattr(atomic.os, "replace", never)
    with pytest.raises(ProjectError, match="busy"):
        ball_project.set_label("case_2", ball(3).T.copy())
    assert snapshot(ball_project.folder) == before


def test_a_rename_whose_answer_is_lost_counts(ball_project, monkeypatch) -> None:
    replace, lost = os.replace, []

    def forgetful(source: Path, target: Path) -> None:
        replace(source, target)
        if not lost:
            lost.append(target)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(atomic.os, "replace", forgetful)
    label = ball(1).T.copy()
    ball_project.set_label("case_2", label)
    assert lost
    assert np.array_equal(ball_project.case("case_2").read_label(), label)
