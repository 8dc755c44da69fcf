"""The demo's project, and the page that says what a run reached."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started, Stepped
from napari_semiseg.errors import ProjectError, SemisegError
from napari_semiseg.imaging.rendering import Slice, curves, slices_through
from napari_semiseg.project.project import Project
from napari_semiseg.project.review.evaluate import Evaluation, evaluate
from napari_semiseg.project.runs.run import Run
from napari_semiseg.samples import Cohort, prepare
from napari_semiseg.samples.report import write_report
from synthetic import prediction_of

pytest.importorskip("nilearn", reason="the demo extra is not installed")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Cohort]:
    return prepare(tmp_path_factory.mktemp("demo"), n=5)


@pytest.fixture(scope="module")
def run(prepared: tuple[Project, Cohort]) -> Run:
    """A finished run whose predictions are the truth, shifted and worn."""
    project, cohort = prepared
    run = Run.create(project, TrainingConfig(method="dtml", steps=40))
    run.append(Started(run=run.id, method="dtml", pid=1))
    for step in range(0, 41, 4):
        run.append(
            Stepped(
                step=step,
                steps=40,
                losses={"supervised": 0.8 / (1 + step), "a<b": 1e-4 * step},
                learning_rate=1e-3,
                seconds=3.0 * step,
                seconds_left=0,
            )
        )
    run.append(Finished(run=run.id, reason="completed", step=40, seconds=126))
    for number, name in enumerate(cohort.ids[3:]):
        case = project.case(name)
        truth = np.asarray(
            ndimage.binary_dilation(_truth(case, cohort), iterations=number + 1)
        )
        distance = ndimage.distance_transform_edt(~truth)
        distance = distance - ndimage.distance_transform_edt(truth)
        doubt = np.exp(-((distance / 3) ** 2)).astype(np.float32)
        prediction = prediction_of(
            run,
            case,
            truth.astype(np.uint8),
            sdm_mm=2 * distance,
            doubt=doubt,
            step=40,
            method="dtml",
            kind="gap",
        )
        run.write_prediction(prediction, case.image)
    return run


def _truth(case, cohort: Cohort):
    from napari_semiseg.io.masks import read_labels

    path = cohort.masks[cohort.ids.index(case.id)]
    return np.roll(read_labels(path, case.geometry) > 0, 1, axis=1)


@pytest.fixture(scope="module")
def evaluation(prepared, run: Run) -> Evaluation:
    project, cohort = prepared
    return evaluate(project, cohort.folder / "labelsTr", run=run, cases=cohort.ids[3:])


def test_three_cases_are_labelled_and_the_others_are_not(prepared) -> None:
    project, cohort = prepared
    states = {case.id: str(case.state) for case in project.cases()}
    assert set(states) == set(cohort.ids)
    labelled = [name for name, state in states.items() if state == "labelled"]
    assert labelled == cohort.labelled


def test_a_second_demo_keeps_what_was_done_since(prepared) -> None:
    project, cohort = prepared
    name = cohort.labelled[0]
    label = project.case(name).read_label()
    assert label is not None
    corrected = label.copy()
    corrected[:2] = 1
    project.set_label(name, corrected)
    again, same = prepare(project.folder.parent, n=5)
    assert same == cohort
    np.testing.assert_array_equal(again.case(name).read_label(), corrected)
    project.set_label(name, label)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(SemisegError, match="another folder"):
        prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_page_is_one_file_with_numbers_and_pictures(
    prepared, run: Run, evaluation: Evaluation, tmp_path: Path
) -> None:
    project, cohort = prepared
    page = write_report(project, run, evaluation, tmp_path / "report.html")
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert "Synthetic" in text
    assert "not a medical device" in text
    for name in cohort.ids[3:]:
        dice = evaluation.cases[name]["lateral ventricles"].dice
        assert f"{dice:.3f}" in text
    assert text.count('<svg class="slice"') == 4 * 2
    assert text.count('class="reference"') == 3 * 2
    assert "2.1 min" in text
    assert "a&lt;b" in text


def test_scores_of_nothing_are_refused(prepared, run: Run, tmp_path: Path) -> None:
    project, _ = prepared
    nothing = Evaluation(cases={}, mean={})
    with pytest.raises(ProjectError, match="predict the cases"):
        write_report(project, run, nothing, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_planes_are_seen_as_radiologists_do() -> None:
    volume = np.zeros((4, 5, 6), bool)
    volume[3, 0, 0] = True  # superior, anterior, right
    for axis in range(3):
        index = (3, 0, 0)[axis]
        plane = Slice(axis, index, (1.0, 1.0)).of(volume)
        assert plane[0, 0], axis  # at the upper left in every plane


def test_slices_go_through_the_largest_cut(prepared) -> None:
    project, cohort = prepared
    case = project.case(cohort.labelled[0])
    mask = case.read_label() == 1
    for view in slices_through(mask, case.geometry):
        cut = view.of(mask).sum()
        assert cut == max(
            np.take(mask, index, axis=view.axis).sum()
            for index in range(mask.shape[view.axis])
        )


def test_curves_leave_out_what_a_logarithm_cannot_show() -> None:
    drawn = curves({"term": [(0, 0.0), (1, 0.1), (2, 0.01)]}, across="min")
    points = re.findall(r'class="curve"[^>]* d="M([^"]+)"', drawn)
    assert [len(line.split("L")) for line in points] == [2]
    assert "No curve" in curves({"term": [(0, 0.0)]}, across="min")
