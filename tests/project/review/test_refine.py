"""Corrections in a case spread over its prediction, as proposals in its draft."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.prediction import LOWEST_LOG, FeatureMaps
from napari_semiseg.errors import ProjectError
from napari_semiseg.imaging.mask_encoding import MaskEncoding
from napari_semiseg.project.project import Project
from napari_semiseg.project.review.refine import refine, refine_mask
from napari_semiseg.project.review.undo import kept_masks
from napari_semiseg.project.runs.run import Run
from synthetic import ball, prediction_of, snapshot

CASE = "case_2"


@pytest.fixture
def truth(ball_project) -> np.ndarray:
    return ball_project.case(CASE).geometry.to_canonical(ball(2)).copy()


@pytest.fixture
def run(ball_project, truth) -> Run:
    """Its prediction of a ball lacks a half; one feature tells where the ball is."""
    made = Run.create(ball_project, TrainingConfig())
    case = ball_project.case(CASE)
    labels = truth.copy()
    labels[:, 12:] = 0
    p = np.where(labels, 0.9, 0.1)
    logs = np.log(np.stack([1 - p, p]))
    maps = FeatureMaps(
        np.round((1 - logs / LOWEST_LOG) * 255).astype(np.uint8),
        (255 * truth[None],),
        ((1.0, 1.0, 1.0),),
    )
    prediction = replace(prediction_of(made, case, labels), feature_maps=maps)
    made.write_prediction(prediction, case.image)
    return made


def draft(project: Project, truth: np.ndarray, *slices: int) -> np.ndarray:
    """A mask of the prediction in which some slices are corrected."""
    case, encoding = project.case(CASE), MaskEncoding(project.labels)
    _, predicted = project.latest_run().read_mask(case, case.geometry)
    mask = encoding.propose(predicted)
    mask[list(slices)] = truth[list(slices)]
    return mask


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum() / (one.sum() + other.sum()))


def test_the_rest_follows_one_slice_as_proposals(ball_project, truth, run) -> None:
    mask = draft(ball_project, truth, 11)
    ball_project.save_draft(CASE, mask)
    found = refine(ball_project, CASE)
    case, encoding = ball_project.case(CASE), MaskEncoding(ball_project.labels)
    stored = case.read_draft()
    assert np.array_equal(stored, found.mask)
    assert found.run == run.id
    assert found.changed_voxels > 150
    assert dice(encoding.confirm(mask) > 0, truth > 0) < 0.8
    assert dice(encoding.confirm(stored) > 0, truth > 0) > 0.88
    assert np.array_equal(stored[11], truth[11])
    human = encoding.annotated(stored)
    assert np.array_equal(human, encoding.annotated(mask))
    assert not case.has_label
    (kept,) = kept_masks(case)
    assert kept.startswith("draft_")


def test_it_can_be_repeated_with_more_corrections(ball_project, truth, run) -> None:
    ball_project.save_draft(CASE, draft(ball_project, truth, 11))
    once = refine(ball_project, CASE)
    again = refine(ball_project, CASE)
    assert again.changed_voxels == 0
    back = once.mask.copy()
    back[9] = draft(ball_project, truth)[9] == 254  # the prediction was right there
    ball_project.save_draft(CASE, back)
    third = refine(ball_project, CASE).mask
    assert np.array_equal(third[[9, 11]], back[[9, 11]])


def test_locked_classes_stay(ball_project, truth, run) -> None:
    mask = draft(ball_project, truth, 11)
    found = refine_mask(run, ball_project.case(CASE), mask, locked=[1])
    assert np.array_equal(found.mask, mask)


def test_a_partial_label_counts_where_there_is_no_draft(
    ball_project, truth, run
) -> None:
    label = np.full_like(truth, 255)
    label[11] = truth[11]
    ball_project.set_label(CASE, label)
    refine(ball_project, CASE)
    case, encoding = ball_project.case(CASE), MaskEncoding(ball_project.labels)
    assert dice(encoding.confirm(case.read_draft()) > 0, truth > 0) > 0.88
    assert np.array_equal(case.read_label(), label)


def no_draft(project: Project, truth: np.ndarray) -> None:
    project.save_draft(CASE, draft(project, truth, 11))
    project.case(CASE).folder.draft.unlink()


def untouched(project: Project, truth: np.ndarray) -> None:
    project.save_draft(CASE, draft(project, truth))


def all_done(project: Project, truth: np.ndarray) -> None:
    project.save_draft(CASE, truth)


def without_maps(project: Project, truth: np.ndarray) -> None:
    project.save_draft(CASE, draft(project, truth, 11))
    project.latest_run().folder.prediction(CASE).feature_maps.unlink()


def torn_maps(project: Project, truth: np.ndarray) -> None:
    project.save_draft(CASE, draft(project, truth, 11))
    path = project.latest_run().folder.prediction(CASE).feature_maps
    path.write_bytes(path.read_bytes()[:200])


def garbled_maps(project: Project, truth: np.ndarray) -> None:
    project.save_draft(CASE, draft(project, truth, 11))
    path = project.latest_run().folder.prediction(CASE).feature_maps
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)
    path.write_bytes(content)


def other_file(project: Project, truth: np.ndarray) -> None:
    project.save_draft(CASE, draft(project, truth, 11))
    path = project.latest_run().folder.prediction(CASE).feature_maps
    with path.open("wb") as file:
        np.save(file, truth)


def bomb(project: Project, truth: np.ndarray) -> None:
    """A small file that would fill the memory."""
    project.save_draft(CASE, draft(project, truth, 11))
    path = project.latest_run().folder.prediction(CASE).feature_maps
    with (
        ZipFile(path, "w", ZIP_DEFLATED) as packed,
        packed.open("level_0.npy", "w") as to,
    ):
        for _ in range(60):
            to.write(bytes(10_000_000))


def other_image(project: Project, truth: np.ndarray) -> None:
    project.save_draft(CASE, draft(project, truth, 11))
    record = project.latest_run().folder.prediction(CASE).json
    record.write_text(record.read_text().replace(project.case(CASE).record.sha256, "0"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_draft, "expected a draft or label with corrections, found none"),
        (untouched, "found no voxel annotated; mark a corrected slice"),
        (all_done, "found every voxel annotated"),
        (
            without_maps,
            "expected feature maps with the prediction, found none; predict",
        ),
        (torn_maps, "found a damaged file"),
        (garbled_maps, "found a damaged file"),
        (other_file, "found a damaged file"),
        (bomb, r"found a damaged file \(too large\)"),
        (other_image, "expected a prediction of its image"),
    ],
)
def test_what_cannot_be_refined_is_one_line_and_changes_nothing(
    ball_project, truth, run, make, message
) -> None:
    make(ball_project, truth)
    before = snapshot(ball_project.folder)
    with pytest.raises(ProjectError, match=message) as caught:
        refine(ball_project, CASE)
    assert "\n" not in str(caught.value)
    assert snapshot(ball_project.folder) == before


def test_a_case_without_a_prediction_is_told(ball_project) -> None:
    with pytest.raises(ProjectError, match="expected a prediction, found none"):
        refine(ball_project, "case_0")


def test_a_prediction_without_maps_takes_those_of_the_one_before_away(
    ball_project, truth, run
) -> None:
    case = ball_project.case(CASE)
    folder = run.folder.prediction(CASE)
    _, labels, maps = run.read_feature_maps(case, case.geometry)
    assert np.array_equal(maps.levels[0][0] > 0, truth > 0)
    run.write_prediction(prediction_of(run, case, labels), case.image)
    assert not folder.feature_maps.exists()


def test_refining_loads_neither_torch_nor_qt(ball_project, truth, run) -> None:
    ball_project.save_draft(CASE, draft(ball_project, truth, 11))
    code = (
        "import sys, napari_semiseg as ss\n"
        f"ss.refine(ss.Project.open({str(ball_project.folder)!r}), {CASE!r})\n"
        "print(sorted({'torch', 'qtpy', 'napari'} & set(sys.modules)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "[]", found.stderr
