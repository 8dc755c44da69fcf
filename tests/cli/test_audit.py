"""semiseg audit, with trainings of a few steps, after which a model knows nothing."""

from __future__ import annotations

import pytest

from napari_semiseg.core.prediction import SliceScore
from napari_semiseg.project.review.label_audit import LabelAudit

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
    answer = semiseg(*words, "--json")
    assert answer.code == 0, answer.err
    assert list(answer.json) == ["slices"]
    assert set(LabelAudit.read(ball_project).cases) == set(spheres.ids[:4])
    runs = sorted(out.glob("fold_*/runs/audit/checkpoints/last.pt"))
    assert len(runs) == 2
    written = [path.stat().st_mtime_ns for path in runs]
    again = semiseg(*words)
    assert again.code == 0, again.err
    assert f"{len(answer.json['slices'])} slice" in again.out
    assert [path.stat().st_mtime_ns for path in runs] == written


def test_the_queue_says_what_the_audit_found(semiseg, ball_project) -> None:
    label = ball_project.case("case_1")
    doubt = SliceScore(axis=0, index=7, score=0.4, reason="structures may be swapped")
    entry = {"file": label.record.history[-1].file, "slices": (doubt,)}
    LabelAudit.model_validate({"cases": {"case_1": entry}}).write(ball_project)
    asked = ("suggest", ball_project.folder, "--strategy", "audit", "--json")
    (place,) = semiseg(*asked).json["slices"]
    assert (place["case"], place["axis"], place["index"]) == ("case_1", 0, 7)
    assert place["reason"].startswith("structures may be swapped (0.40)")


@pytest.mark.engine
def test_a_single_fold_is_refused(semiseg, ball_project) -> None:
    refusal = semiseg("audit", ball_project.folder, "--folds", "1", *TINY).refusal
    assert "expected at least 2 folds" in refusal
