"""semiseg audit, with trainings of a few steps."""

from __future__ import annotations

import pytest

TINY = (
    *("--method", "supervised", "--steps", "2", "--set", "width=4"),
    *("--set", "patch_zyx=[16,16,16]", "--set", "labelled_batch=1"),
    *("--device", "cpu"),
)


@pytest.mark.engine
def test_labels_are_audited_and_the_same_command_trains_nothing_again(
    semiseg, workers_here, ball_project, spheres, tmp_path
) -> None:
    for name in spheres.ids[2:4]:
        ball_project.set_label(name, spheres.masks / f"{name}.nii.gz")
    out = tmp_path / "audit"
    words = ("audit", ball_project.folder, "--folds", "2", "--out", out, *TINY)
    answer = semiseg(*words, "-k", "3", "--json")
    assert answer.code == 0, answer.err
    assert 0 < len(answer.json["slices"]) <= 3
    assert set(answer.json["slices"][0]) == {
        *("case", "axis", "index", "score", "reason")
    }
    runs = sorted(out.glob("fold_*/runs/audit/checkpoints/last.pt"))
    assert len(runs) == 2
    written = [path.stat().st_mtime_ns for path in runs]
    again = semiseg(*words)
    assert again.code == 0, again.err
    assert "slices to check" in again.out
    assert [path.stat().st_mtime_ns for path in runs] == written
    listed = semiseg("suggest", ball_project.folder, "--strategy", "audit", "--json")
    assert listed.json["slices"][:3] == answer.json["slices"]


def test_too_many_folds_are_refused(semiseg, ball_project) -> None:
    pytest.importorskip("torch")
    refusal = semiseg("audit", ball_project.folder, "--folds", "3", *TINY).refusal
    assert "expected from 2 to 2 folds" in refusal
