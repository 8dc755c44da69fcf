from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.geometry import Geometry
from napari_semiseg.imaging.metrics import overlap
from napari_semiseg.project.cases.history import HistoryEntry
from napari_semiseg.project.cases.record import CaseRecord, ChannelRecord
from napari_semiseg.project.importing.match_masks import attach
from napari_semiseg.project.review.corrections import (
    corrections,
    corrections_of,
    effort,
    plateau,
)
from napari_semiseg.project.runs.run import Run
from synthetic import SIZE, ball, save_nifti

ENTRY: TypeAdapter[HistoryEntry] = TypeAdapter(HistoryEntry)


def entry(action: str, at: float, minutes: float | None = None, **details: object):
    values = {"action": action, "by": "Ada", "at": at, "minutes": minutes}
    return ENTRY.validate_python({**values, **details})


def record(name: str, *history: HistoryEntry) -> CaseRecord:
    return CaseRecord(
        id=name,
        channels=(ChannelRecord(name="image", image="x.nii", sha256="0"),),
        geometry=Geometry((1, 1, 1), np.eye(4)),
        history=history,
    )


class TestOverlap:
    def test_dice_per_class_and_changed_voxels(self, empty_project) -> None:
        from napari_semiseg.core.labels import LabelScheme

        scheme = LabelScheme.parse(["1=wall", "4=clot", "9=nothing"])
        before = np.zeros((4, 5, 6), np.uint8)
        before[1, :2, :] = 1  # 12 voxels
        after = before.copy()
        after[1, 0, :] = 4  # 6 of them
        found = overlap(before, after, scheme)
        assert found.dice == {"wall": pytest.approx(12 / 18), "clot": 0, "nothing": 1}
        assert found.mean_dice == pytest.approx((12 / 18 + 0 + 1) / 3)
        assert found.changed_voxels == 6

    def test_what_nobody_annotated_does_not_count(self) -> None:
        from napari_semiseg.core.labels import LabelScheme

        before = np.ones((2, 2, 2), np.uint8)
        after = np.full((2, 2, 2), 255, np.uint8)
        after[0] = 1
        found = overlap(before, after, LabelScheme.parse(["1=wall"]))
        assert (found.mean_dice, found.changed_voxels) == (1.0, 0)
        after[0, 0] = 0
        found = overlap(before, after, LabelScheme.parse(["1=wall"]))
        assert (found.mean_dice, found.changed_voxels) == (pytest.approx(4 / 6), 2)


class TestHistory:
    def test_a_mask_is_compared_with_the_prediction_before_it(
        self, ball_project, predict_ball, spheres
    ) -> None:
        run = Run.create(ball_project, TrainingConfig())
        case = ball_project.case("case_2")
        run.write_prediction(predict_ball(run, case, uncertainty=0.2), case.image)
        mask = ball(2)
        mask[:11] = 0
        save_nifti(spheres.masks / "case_2.nii.gz", mask)
        attach(ball_project, spheres.masks, ["case_2", "case_3"])
        entry = ball_project.case("case_2").record.history[-1]
        kept, whole = int(mask.sum()), int(ball(2).sum())
        dice = round(2 * kept / (kept + whole), 4)
        assert entry.run == run.id
        assert entry.corrective_dice == dice
        assert entry.corrective_dice_by_class == {"left atrium": dice}
        assert entry.changed_voxels == whole - kept
        assert (entry.uncertainty, entry.uncertainty_kind) == (0.2, "entropy")
        other = ball_project.case("case_3").record.history[-1]
        assert other.corrective_dice is None
        [found] = [c for c in corrections(ball_project.cases()) if c.run]
        assert (found.case, found.dice, found.minutes) == ("case_2", dice, None)
        assert found.seen
        assert found.first

    def test_a_broken_prediction_keeps_nobody_from_accepting(
        self, ball_project, predict_ball
    ) -> None:
        run = Run.create(ball_project, TrainingConfig())
        case = ball_project.case("case_2")
        run.write_prediction(predict_ball(run, case), case.image)
        run.folder.prediction("case_2").labels.write_bytes(b"torn")
        ball_project.set_label("case_2", np.zeros((SIZE, SIZE, SIZE), np.uint8))
        now = ball_project.case("case_2")
        assert now.state == "labelled"
        assert now.record.history[-1].run is None

    def test_minutes_count_since_the_acceptance_before(self) -> None:
        first, second = corrections_of(
            record(
                "a",
                entry("add", 0),
                entry("view", 1, 0.5, run="r", step=3),
                entry("label", 2, 1.0, run="r", corrective_dice=0.8),
                entry("view", 3, 0.25),
                entry("reopen", 4),
                entry("label", 5, 2.0, run="r", corrective_dice=0.9, changed_voxels=7),
            )
        )
        assert (first.minutes, second.minutes) == (1.5, 2.25)
        assert (first.first, second.first) == (True, False)

    def test_effort_sums_all_sittings_and_names_the_newest_correction(self) -> None:
        spent = effort(
            record(
                "a",
                entry("label", 2, 1.0, corrective_dice=0.8, changed_voxels=9),
                entry("view", 3, 0.25),
                entry("label", 5, 2.0, corrective_dice=0.9, changed_voxels=7),
                entry("label", 6),
            )
        )
        assert (spent.minutes, spent.dice, spent.changed_voxels) == (3.25, 0.9, 7)
        assert effort(record("b", entry("add", 0))).minutes is None


def quick(number: int, minutes: float | None = 0.5, **details: object) -> CaseRecord:
    facts = {"run": "r", "corrective_dice": 0.95, **details}
    return record(f"c{number}", entry("label", number, minutes, **facts))


def said(*records: CaseRecord) -> str | None:
    found = [item for one in records for item in corrections_of(one)]
    return plateau(sorted(found, key=lambda item: item.at))


class TestPlateau:
    def test_five_quick_cases_in_a_row(self) -> None:
        words = "The last 5 cases needed under 1 minute each"
        assert said(*map(quick, range(5))) == words
        assert said(*map(quick, range(4))) is None
        assert said(quick(0, 30.0), *map(quick, range(1, 6))) is not None

    def test_one_slow_case_ends_it(self) -> None:
        assert said(*map(quick, range(5)), quick(5, 1.0)) is None

    @pytest.mark.parametrize(
        "other",
        [
            quick(2, None),  # a mask from a file
            quick(2, 0.1, run=None),  # painted without a prediction
            quick(2, 0.1, annotated_fraction=0.1),  # some slices
            record(
                "c2",
                entry("accept", 2, 0.0, run="r", seen=False, annotated_fraction=1.0),
            ),
        ],
    )
    def test_what_was_no_correction_of_a_whole_case_does_not_count(self, other) -> None:
        four = [quick(number) for number in (0, 1, 3, 4)]
        assert said(*four, other) is None
        assert said(*four, other, quick(5)) is not None


def test_only_what_was_verified_tells_about_quality() -> None:
    def label(at: int, **facts: object) -> HistoryEntry:
        whole = {"annotated_fraction": 1.0, "corrective_dice": 1.0, "seen": True}
        return entry("label", at, 0.1, run="r", **(whole | facts))

    def judged(*entries: HistoryEntry) -> list[tuple[bool, float | None]]:
        return [(c.verified, c.dice) for c in corrections_of(record("a", *entries))]

    blind = {"changed_voxels": 0, "viewed_fraction": 0.1}
    looked = {"changed_voxels": 0, "viewed_fraction": 0.5}
    edited = {"changed_voxels": 3, "viewed_fraction": 0.1}
    assert judged(label(1, **blind)) == [(False, None)]
    assert judged(label(1, **looked)) == [(True, 1.0)]
    assert judged(label(1, **edited)) == [(True, 1.0)]
    assert judged(label(1, changed_voxels=0)) == [(True, 1.0)]  # earlier versions
    # A label that was verified stays so; one that was withdrawn does not.
    assert judged(label(1, **looked), label(2, **blind))[1] == (True, 1.0)
    withdrawn = label(1, **looked), entry("reopen", 2), label(3, **blind)
    assert judged(*withdrawn)[1] == (False, None)
    undone = label(1, **looked), entry("undo", 2), label(3, **blind)
    assert judged(*undone) == [(False, None)]
    found = corrections_of(record("a", *(label(at, **blind) for at in range(6))))
    assert plateau(found) is None
    found = corrections_of(record("a", *(label(at, **looked) for at in range(6))))
    assert plateau(found) is not None
