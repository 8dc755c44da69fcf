"""Bad input: one line on stderr, exit code 1, and nothing changed on disk."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from synthetic import SIZE, ball, save_nifti, snapshot


@pytest.fixture
def unchanged(tmp_path):
    """Everything below the test's folder is as it was when the test called it."""
    before: list[dict[str, bytes]] = []

    def mark() -> None:
        before.append(snapshot(tmp_path))

    yield mark
    assert before, "the test never marked a state"
    assert snapshot(tmp_path) == before[-1]


def test_missing_files(semiseg, ball_project, tmp_path, unchanged) -> None:
    unchanged()
    folder, none = ball_project.folder, tmp_path / "none"
    for json in ((), ("--json",)):
        assert "none" in semiseg("add", folder, none, *json).refusal
        assert "none" in semiseg("label", folder, "--masks", none, *json).refusal
        assert "none" in semiseg("evaluate", folder, "--masks", none, *json).refusal
        assert "semiseg init" in semiseg("status", none, *json).refusal
        listed = ("--cases", none, *json)
        assert "none" in semiseg("add", folder, tmp_path, *listed).refusal


def test_a_mask_on_another_grid(semiseg, ball_project, spheres, unchanged) -> None:
    save_nifti(spheres.masks / "case_3.nii.gz", ball(3), shift=5.0)
    unchanged()
    answer = semiseg("label", ball_project.folder, "--masks", spheres.masks)
    assert "case_3" in answer.refusal


def test_an_unknown_label_value(semiseg, ball_project, spheres, unchanged) -> None:
    save_nifti(spheres.masks / "case_3.nii.gz", 4 * ball(3))
    unchanged()
    answer = semiseg("label", ball_project.folder, "--masks", spheres.masks, "--json")
    assert "[4]" in answer.refusal


def test_a_mask_of_nothing_but_unannotated(
    semiseg, ball_project, spheres, unchanged
) -> None:
    nothing = np.full((SIZE, SIZE, SIZE), 255, np.uint8)
    save_nifti(spheres.masks / "case_3.nii.gz", nothing)
    unchanged()
    answer = semiseg("label", ball_project.folder, "--masks", spheres.masks)
    assert "annotated" in answer.refusal


def test_two_images_with_one_name(semiseg, empty_project, tmp_path, unchanged) -> None:
    save_nifti(tmp_path / "in" / "x.nii.gz", ball(0))
    save_nifti(tmp_path / "in" / "x.nii", ball(1))
    unchanged()
    answer = semiseg("add", empty_project.folder, tmp_path / "in")
    assert "rename" in answer.refusal


def test_no_image_at_all(semiseg, empty_project, tmp_path, unchanged) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no image")
    unchanged()
    assert "found none" in semiseg("add", empty_project.folder, tmp_path / "in").refusal


@pytest.mark.engine
def test_an_empty_project(semiseg, empty_project, tmp_path, unchanged) -> None:
    unchanged()
    folder = empty_project.folder
    for words in (
        ("train", folder, "--steps", "2"),
        ("resume", folder),
        ("stop", folder),
        ("predict", folder),
        ("suggest", folder),
        ("export", folder, tmp_path / "out"),
    ):
        assert semiseg(*words, *(() if words[0] == "x" else ("--json",))).refusal
    assert "semiseg add" in semiseg("status", folder).out


@pytest.mark.engine
def test_no_labelled_case(semiseg, empty_project, spheres, unchanged) -> None:
    empty_project.add(spheres.images)
    unchanged()
    answer = semiseg("train", empty_project.folder, "--steps", "2")
    assert "label" in answer.refusal


def test_an_unwritable_folder(semiseg, ball_project, tmp_path, unchanged) -> None:
    (tmp_path / "file").write_text("in the way")
    unchanged()
    place = tmp_path / "file" / "p"
    assert "writable" in semiseg("init", place, "--label", "1=a").refusal
    answer = semiseg("export", ball_project.folder, place, "--what", "labels")
    assert answer.refusal


@pytest.mark.engine
def test_a_gpu_that_is_absent(semiseg, ball_project, unchanged) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    unchanged()
    words = ("train", ball_project.folder, "--device", "cuda", "--steps", "2")
    assert "cuda" in semiseg(*words).refusal.lower()


@pytest.mark.parametrize("verb", ["train", "predict", "resume", "demo"])
def test_torch_that_is_not_installed(ball_project, tmp_path, unchanged, verb) -> None:
    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.project.runs.run import Run

    run = Run.create(ball_project, TrainingConfig())
    run.folder.checkpoints.mkdir()
    run.folder.last.touch()
    unchanged()
    words = {"demo": [str(tmp_path / "demo"), "--no-gui"]}
    arguments = words.get(verb, [str(ball_project.folder)])
    code = (
        "import sys; sys.modules['torch'] = None;"
        f"sys.argv = ['semiseg', {verb!r}, *{arguments!r}];"
        "from napari_semiseg.cli import main; main()"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1, found.stderr
    assert found.stdout == ""
    assert found.stderr.count("\n") == 1, found.stderr
    assert "pip install 'napari-semiseg[engine]'" in found.stderr


@pytest.mark.engine
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("--minutes", "0"), "--minutes"),
        (("--minutes", "inf"), "finite"),
        (("--steps", "2", "--minutes", "1"), "found both"),
        (("--set", "width"), "key=value"),
        (("--set", "width=1", "--steps", "2"), "width"),
        (("--method", "magic", "--steps", "2"), "magic"),
        (("--device", "tpu", "--steps", "2"), "device"),
        (("--set", "no_such_thing=1", "--steps", "2"), "no_such_thing"),
    ],
)
def test_settings_that_make_no_sense(
    semiseg, ball_project, unchanged, settings, words
) -> None:
    unchanged()
    assert words in semiseg("train", ball_project.folder, *settings).refusal


def test_labels_that_make_no_sense(semiseg, tmp_path, unchanged) -> None:
    unchanged()
    for label in ("atrium", "0=background", "255=x", "1="):
        refusal = semiseg("init", tmp_path / "p", "--label", label).refusal
        assert "1=left atrium" in refusal
    twice = semiseg("init", tmp_path / "p", "--label", "1=a", "--label", "1=b")
    assert "two labels" in twice.refusal


def test_formats_and_strategies_that_are_not_there(
    semiseg, ball_project, tmp_path, unchanged
) -> None:
    unchanged()
    folder, out = ball_project.folder, tmp_path / "out"
    assert "nifti" in semiseg("export", folder, out, "--format", "docx").refusal
    assert "random" in semiseg("suggest", folder, "--strategy", "best").refusal


def test_wrong_usage_is_another_code(semiseg, tmp_path) -> None:
    for words in (("init", tmp_path / "p"), ("nonsense",), ("train",), ("add", "x")):
        answer = semiseg(*words)
        assert answer.code == 2
        assert answer.out == ""
    assert semiseg("--help").code == 0
