from __future__ import annotations

import json

import numpy as np
import pytest

from experiments.benchmark.conftest import IDS
from napari_semiseg.errors import SemisegError
from napari_semiseg.experiments.benchmark.dataset import RawDataset, refuse_inside
from napari_semiseg.io.images import read_geometry
from synthetic import ball, save_nifti


def names(scheme):
    return {item.value: item.name for item in scheme}


def describe(data, labels):
    (data / "dataset.json").write_text(json.dumps({"labels": labels}))
    return RawDataset.open(data)


def test_images_and_masks_are_found_by_id_with_and_without_a_channel(data) -> None:
    images = data / "imagesTr"
    (images / "case_3.nii.gz").rename(images / "case_3_0000.nii.gz")
    save_nifti(data / "imagesTs" / "late_0000.nii.gz", ball(0))
    save_nifti(data / "labelsTs" / "late.nii.gz", ball(0))
    dataset = RawDataset.open(data)
    assert len(dataset.images) == 8
    assert dataset.case("case_3") == "case_3_0000"
    assert dataset.case("case_2") == "case_2"
    dataset.require(["case_2", "case_3", "late"], masks=True)
    geometry, _ = read_geometry(dataset.image("late"))
    mask = dataset.read_mask("late", geometry)
    assert mask.sum() == ball(0).sum()


def test_an_ending_that_the_mask_has_too_is_part_of_the_id(data) -> None:
    for folder in ("imagesTr", "labelsTr"):
        plain = data / folder / "case_3.nii.gz"
        plain.rename(plain.with_name("case_0000.nii.gz"))
    dataset = RawDataset.open(data)
    dataset.require(["case_0000", "case_0"], masks=True)
    assert "case" not in dataset.images
    assert dataset.check(["case_0000"], dataset.scheme((), ())) == {"case_0000": {0, 1}}


def test_test_masks_may_all_be_among_the_others(data) -> None:
    (data / "labelsTs").mkdir()
    RawDataset.open(data).require(IDS, masks=True)
    (data / "labelsTr").rename(data / "elsewhere")
    (data / "labelsTr").mkdir()
    with pytest.raises(SemisegError, match=r"labelsTr: expected masks .* found none"):
        RawDataset.open(data)


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "ball": 1, "ring": 2},
        {"0": "background", "1": "ball", "2": "ring"},
        {"background": 0, "ball": 1, "ring": 2, "ignore": 3},
    ],
)
def test_classes_as_nnunet_and_the_decathlon_write_them(data, labels) -> None:
    assert names(describe(data, labels).scheme((), ())) == {1: "ball", 2: "ring"}


def test_classes_come_from_the_masks_where_nothing_names_them(data) -> None:
    (data / "dataset.json").unlink()
    mask = ball(1)
    mask[:2] = 7
    save_nifti(data / "labelsTr" / "case_1.nii.gz", mask)
    dataset = RawDataset.open(data)
    assert names(dataset.scheme((), ["case_0"])) == {1: "class 1"}
    found = names(dataset.scheme((), ["case_0", "case_1"]))
    assert found == {1: "class 1", 7: "class 7"}
    assert names(dataset.scheme(["1=ball"], ["case_0"])) == {1: "ball"}


def test_ignored_voxels_are_unknown(data) -> None:
    mask = ball(1)
    mask[:, :, :3] = 2
    save_nifti(data / "labelsTr" / "case_1.nii.gz", mask)
    dataset = describe(data, {"background": 0, "ball": 1, "ignore": 2})
    geometry, _ = read_geometry(dataset.image("case_1"))
    read = dataset.read_mask("case_1", geometry)
    assert np.count_nonzero(read == 255) == 3 * 24 * 24
    assert set(np.unique(read)) == {0, 1, 255}
    dataset.check(["case_1"], dataset.scheme((), ()))


@pytest.mark.parametrize(
    "text",
    [
        '{"labels": {"background": 0, "whole": [1, 2]}}',
        '{"labels": {"background": 0, "whole": [1, 2], "core": 2}}',
        '{"labels": {"background": 0}}',
        '{"name": "Balls"}',
        '{"labels": {"backgr',
    ],
)
def test_classes_that_are_named_need_no_description(data, text) -> None:
    (data / "dataset.json").write_text(text)
    dataset = RawDataset.open(data)
    assert names(dataset.scheme(["1=ball"], ())) == {1: "ball"}
    with pytest.raises(SemisegError, match=r"dataset\.json.* --label VALUE=NAME"):
        dataset.scheme((), ())


def test_ignored_voxels_are_known_beside_regions(data) -> None:
    mask = ball(1)
    mask[:, :, :3] = 3
    save_nifti(data / "labelsTr" / "case_1.nii.gz", mask)
    dataset = describe(data, {"background": 0, "whole": [1, 2], "ignore": 3})
    found = dataset.check(["case_1"], dataset.scheme(["1=ball"], ()))
    assert found == {"case_1": {0, 1, 255}}


def test_results_do_not_go_among_the_images_and_masks(data) -> None:
    for out in (data / "imagesTs", data / "labelsTr" / "bench" / "first"):
        with pytest.raises(SemisegError, match=r"choose another folder, as .*bench$"):
            refuse_inside(data, out)
    refuse_inside(data, data / "bench")
    refuse_inside(data, data.parent / "imagesTr")


def test_what_is_no_such_data_set_is_refused(data, tmp_path) -> None:
    with pytest.raises(SemisegError, match="imagesTr and labelsTr"):
        RawDataset.open(tmp_path)
    dataset = RawDataset.open(data)
    with pytest.raises(SemisegError, match=r"images of 2 listed cases.*ghost"):
        dataset.require(["case_0", "ghost"])
    (data / "labelsTr" / "case_0.nii.gz").unlink()
    with pytest.raises(SemisegError, match=r"masks of 1 listed cases.*case_0"):
        RawDataset.open(data).require(["case_0"], masks=True)
    save_nifti(data / "labelsTr" / "case_1.nii.gz", ball(1), shift=4.0)
    dataset = RawDataset.open(data)
    with pytest.raises(SemisegError, match="grid"):
        dataset.check(["case_1"], dataset.scheme(["1=ball"], ()))


def test_a_case_needs_all_its_channels(two_channels) -> None:
    dataset = RawDataset.open(two_channels)
    assert sorted(dataset.images) == list(IDS)
    assert dataset.case("case_3") == "case_3"
    assert dataset.read_image("case_3").data.max() > 90
    second = two_channels / "imagesTr" / "case_5_0001.nii.gz"
    dataset.check_image("case_5")
    save_nifti(second, np.full((24, 24, 24), np.nan, np.float32))
    with pytest.raises(SemisegError, match=r"case_5_0001.* NaN"):
        dataset.check_image("case_5")
    second.unlink()
    with pytest.raises(SemisegError, match="channels of 'case_5', found no 1"):
        RawDataset.open(two_channels)
