from __future__ import annotations

import shutil

import numpy as np
import pytest

import napari_semiseg as ss
from napari_semiseg.active_learning.suggest import suggest
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.io.masks import read_labels, write_labels
from napari_semiseg.project.cases.history import SecondRead
from napari_semiseg.project.review.readers import reader_masks, staple


@pytest.fixture
def second(ball_project, tmp_path):
    """Masks of Anna: as the labels, but for four slices of case 0, two of case 1."""
    folder = tmp_path / "anna"
    folder.mkdir()
    for name, missing in (("case_0", slice(10, 14)), ("case_1", slice(11, 13))):
        case = ball_project.case(name)
        labels = case.read_label()
        labels[missing, :, :12] = 0
        write_labels(folder / f"{name}.nii.gz", labels, case.geometry, case.image)
    ss.add_reader(ball_project, "Anna", folder)
    return ball_project


def test_a_second_mask_lies_beside_the_label(second, tmp_path) -> None:
    case = second.case("case_0")
    assert list(reader_masks(case)) == ["label", "Anna"]
    entry = case.record.history[-1]
    assert isinstance(entry, SecondRead)
    assert (entry.reader, entry.mask) == (
        "Anna",
        str(tmp_path / "anna" / "case_0.nii.gz"),
    )
    anna = read_labels(case.folder.reader("Anna"), case.geometry)
    label = case.read_label()
    assert not anna[10:14, :, :12].any()
    assert label[10:14, :, :12].any()
    assert not ss.check_project(second.folder).findings


def test_agreement_is_dice_and_millimetres_of_both(second) -> None:
    (found, other) = ss.compare_readers(second)
    case = second.case("case_0")
    one = case.read_label() == 1
    two = read_labels(case.folder.reader("Anna"), case.geometry) == 1
    metrics = next(iter(found.pairs["label", "Anna"].values()))
    assert metrics.dice == pytest.approx(
        2 * (one & two).sum() / (one.sum() + two.sum())
    )
    assert 0 < metrics.assd_mm <= metrics.hd95_mm
    assert metrics.dice < next(iter(other.pairs["label", "Anna"].values())).dice


def test_disagreements_come_largest_first_and_follow_the_files(second) -> None:
    case = second.case("case_0")
    slices = ss.compare_readers(second, ["case_0"])[0].slices
    label = case.read_label()
    areas = {index: int((label[index, :, :12] > 0).sum()) for index in range(10, 14)}
    largest = max(int((plane > 0).sum()) for plane in label)
    assert {item.index for item in slices} == {i for i, area in areas.items() if area}
    assert [item.score for item in slices] == sorted(
        (area / largest for area in areas.values() if area), reverse=True
    )
    shutil.copy(case.folder.label, case.folder.reader("Anna"))
    assert ss.compare_readers(second, ["case_0"])[0].slices == ()


def test_what_one_has_not_annotated_is_no_disagreement(second) -> None:
    case = second.case("case_0")
    path = case.folder.reader("Anna")
    anna = read_labels(path, case.geometry)
    anna[12:] = 255
    write_labels(path, anna, case.geometry, case.image)
    (found,) = ss.compare_readers(second, ["case_0"])
    assert {item.index for item in found.slices} == {10, 11}
    report = ss.combine_readers(second, ["case_0"])
    assert report.skipped == {"case_0": "reader 'Anna' has not annotated it whole"}


def test_the_queue_names_slices_of_labelled_cases(second) -> None:
    found = suggest(second, 10, "readers")
    assert {item.case for item in found.volumes} == {"case_0", "case_1"}
    scores = [item.score for item in found.slices]
    assert scores == sorted(scores, reverse=True)
    assert suggest(second, 3, "readers").slices == found.slices[:3]
    assert len(scores) == 6
    assert all(item.index in range(10, 14) for item in found.slices)
    assert "mm²" in found.slices[0].reason
    assert found.volumes[0].place == (found.slices[0].axis, found.slices[0].index)


def test_without_a_second_reader_it_says_what_to_do(ball_project, tmp_path) -> None:
    with pytest.raises(ProjectError, match="found fewer for case_0; add those of"):
        ss.compare_readers(ball_project)
    with pytest.raises(ProjectError, match="--reader NAME"):
        suggest(ball_project, 10, "readers")
    for name in ("label", "a/b", "..", ""):
        with pytest.raises(ConfigError, match="expected the name of a reader"):
            ss.add_reader(ball_project, name, tmp_path)


def test_a_mask_that_does_not_fit_stores_nothing(second, tmp_path) -> None:
    case = second.case("case_1")
    wrong = np.full(case.geometry.shape_zyx, 9, np.uint8)
    path = tmp_path / "anna" / "case_1.nii.gz"
    write_labels(path, wrong, case.geometry, case.image)
    with pytest.raises(ss.SemisegError, match="case_1"):
        ss.add_reader(second, "Bert", tmp_path / "anna")
    assert not second.case("case_0").folder.reader("Bert").exists()


def test_the_consensus_of_three_is_a_proposal(second, tmp_path) -> None:
    case = second.case("case_0")
    truth = case.read_label()
    bert = truth.copy()
    bert[:, 12:, :][truth[:, 12:, :] == 1] = 0  # half is missing
    (tmp_path / "bert").mkdir()
    path = tmp_path / "bert" / "case_0.nii.gz"
    write_labels(path, bert, case.geometry, case.image)
    ss.add_reader(second, "Bert", path.parent)
    report = ss.combine_readers(second, ["case_0"])
    assert report.proposed == ["case_0"]
    run = second.run(report.run)
    _, proposed = run.read_mask("case_0", case.geometry)
    masks = [truth, read_labels(case.folder.reader("Anna"), case.geometry), bert]
    assert np.array_equal(proposed, staple(masks, case.geometry))
    wrong = [(mask != truth).sum() for mask in (proposed, *masks[1:])]
    assert wrong[0] < min(wrong[1:])
    now = second.case("case_0")
    assert np.array_equal(now.read_label(), truth)
    assert now.record.history[-1].command == "semiseg readers --consensus"


def test_staple_keeps_classes_apart_and_the_first_reader_where_undecided() -> None:
    from napari_semiseg.core.geometry import Geometry

    one = np.zeros((8, 20, 20), np.uint8)
    one[2:6, 5:15, 5:15] = 1
    one[2:6, 8:10, 8:10] = 2
    two, three = one.copy(), one.copy()
    two[:, :, 14] = 0
    three[3] = 0
    geometry = Geometry.from_native((20, 20, 8), np.eye(4))
    assert np.array_equal(staple([two, one, three], geometry), one)
    assert np.array_equal(staple([one, two], geometry), one)
    assert np.array_equal(staple([two, one], geometry), two)
    empty = np.zeros_like(one)
    assert not staple([empty, empty], geometry).any()
