from __future__ import annotations

import json

import numpy as np
import pytest

from bench.conftest import IDS
from napari_semiseg.bench.cohort import make_project
from napari_semiseg.bench.layout import Dataset
from napari_semiseg.bench.spec import Benchmark, Budget, Entry
from napari_semiseg.errors import SemisegError
from napari_semiseg.io.images import read_geometry
from napari_semiseg.project.store import Project
from synthetic import ball, save_nifti


def names(scheme):
    return {item.value: item.name for item in scheme}


def describe(data, labels):
    (data / "dataset.json").write_text(json.dumps({"labels": labels}))
    return Dataset.open(data)


def test_images_and_masks_are_found_by_id_with_and_without_a_channel(data) -> None:
    images = data / "imagesTr"
    (images / "case_3.nii.gz").rename(images / "case_3_0000.nii.gz")
    save_nifti(data / "imagesTs" / "late_0000.nii.gz", ball(0))
    save_nifti(data / "labelsTs" / "late.nii.gz", ball(0))
    dataset = Dataset.open(data)
    assert len(dataset.images) == 8
    assert dataset.case("case_3") == "case_3_0000"
    assert dataset.case("case_2") == "case_2"
    dataset.require(["case_2", "case_3", "late"], masks=True)
    geometry, _ = read_geometry(dataset.image("late"))
    mask = dataset.read_mask("late", geometry)
    assert mask.sum() == ball(0).sum()


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
    dataset = Dataset.open(data)
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


def test_what_is_no_such_data_set_is_refused(data, tmp_path) -> None:
    with pytest.raises(SemisegError, match="imagesTr and labelsTr"):
        Dataset.open(tmp_path)
    with pytest.raises(SemisegError, match="regions"):
        describe(data, {"background": 0, "whole": [1, 2]})
    with pytest.raises(SemisegError, match="regions"):
        describe(data, {"background": 0})
    (data / "dataset.json").unlink()
    dataset = Dataset.open(data)
    with pytest.raises(SemisegError, match=r"images of 2 listed cases.*ghost"):
        dataset.require(["case_0", "ghost"])
    (data / "labelsTr" / "case_0.nii.gz").unlink()
    with pytest.raises(SemisegError, match=r"masks of 1 listed cases.*case_0"):
        Dataset.open(data).require(["case_0"], masks=True)
    save_nifti(data / "labelsTr" / "case_1.nii.gz", ball(1), shift=4.0)
    dataset = Dataset.open(data)
    with pytest.raises(SemisegError, match="grid"):
        dataset.check(["case_1"], dataset.scheme(["1=ball"], ()))


def test_cases_of_several_channels_go_in_whole(data, tmp_path) -> None:
    for number in range(7):
        plain = data / "imagesTr" / f"case_{number}.nii.gz"
        save_nifti(plain.with_name(f"case_{number}_0001.nii.gz"), 50 - ball(number))
        plain.rename(plain.with_name(f"case_{number}_0000.nii.gz"))
    dataset = Dataset.open(data)
    assert sorted(dataset.images) == list(IDS)
    assert dataset.case("case_3") == "case_3"
    assert dataset.read_image("case_3").data.max() > 90
    plan = Benchmark(
        data=data,
        labelled={"one": ("case_0",)},
        unlabelled=("case_0", "case_1"),
        test=("case_2",),
        entries=(Entry.parse("supervised"),),
        budgets=(Budget(steps=1),),
    )
    list(make_project(tmp_path / "p", plan, "one", dataset, dataset.scheme((), ())))
    cases = {case.id: case for case in Project.open(tmp_path / "p").cases()}
    assert {name: case.split for name, case in cases.items()} == {
        "case_0": "train",
        "case_1": "train",
        "case_2": "test",
    }
    assert cases["case_2"].channel_names == ("0", "1")
    assert cases["case_0"].has_label
    (data / "imagesTr" / "case_5_0001.nii.gz").unlink()
    with pytest.raises(SemisegError, match="channels of 'case_5', found no 1"):
        Dataset.open(data)
