"""What a drop of files would become, before anything is written."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_files import contour, square, structure_set
from dicom_twins import write_two_series
from napari_semiseg.errors import ProjectError
from napari_semiseg.io.images import read_geometry
from napari_semiseg.project.importing.match_masks import attach
from napari_semiseg.project.importing.preview import (
    ImportRequest,
    import_pairs,
    preview_import,
    request_import,
    suggest_endings,
)
from napari_semiseg.project.project import Project
from real_data import data_folder
from synthetic import ball, save_nifti, snapshot


@pytest.fixture
def study(spheres):
    """A folder of images, and of the masks of all but the last two."""
    for name in spheres.ids[3:]:
        (spheres.masks / f"{name}.nii.gz").unlink()
    save_nifti(spheres.masks / "stranger.nii.gz", ball(0))
    return spheres.images.parent


def test_a_folder_of_images_and_masks_is_taken_apart_and_paired(empty_project, study):
    before = snapshot(empty_project.folder)
    request = request_import([study])
    assert request == ImportRequest((study / "images",), study / "masks")
    found = preview_import(empty_project, request)
    assert {pair.case: pair.mask and pair.mask.name for pair in found.pairs} == {
        "case_0": "case_0.nii.gz",
        "case_1": "case_1.nii.gz",
        "case_2": "case_2.nii.gz",
        "case_3": None,
        "case_4": None,
    }
    assert found.left == {
        str(study / "masks" / "stranger.nii.gz"): "a mask, but no image has its name"
    }
    assert snapshot(empty_project.folder) == before
    chosen = [pair for pair in found.pairs if pair.case != "case_1"]
    report, labelled = import_pairs(empty_project, request, chosen)
    assert report.added == ["case_0", "case_2", "case_3", "case_4"]
    assert labelled == 2
    states = {case.id: str(case.state) for case in empty_project.cases()}
    assert states["case_0"] == states["case_2"] == "labelled"
    assert states["case_3"] == "unlabelled"


def test_masks_of_known_cases_say_what_they_replace(ball_project, study):
    found = preview_import(ball_project, ImportRequest(masks=study / "masks"))
    said = {pair.case: (pair.known, pair.labelled) for pair in found.pairs}
    assert said == {
        "case_0": (True, True),
        "case_1": (True, True),
        "case_2": (True, False),
    }
    assert (
        import_pairs(ball_project, ImportRequest(masks=study / "masks"), found.pairs)[1]
        == 3
    )
    assert len(list(ball_project.case("case_0").folder.previous.iterdir())) == 1


def test_known_layouts_bring_their_masks(empty_project, tmp_path):
    root = tmp_path / "Dataset001"
    for number, name in enumerate("ab"):
        save_nifti(root / "imagesTr" / f"{name}_0000.nii.gz", 1.0 * ball(number))
    save_nifti(root / "labelsTr" / "a.nii.gz", ball(0))
    found = preview_import(empty_project, request_import([root]))
    assert found.kinds == ("nnU-Net",)
    assert [pair.mask is not None for pair in found.pairs] == [True, False]
    assert import_pairs(empty_project, ImportRequest((root,)), found.pairs)[1] == 1


def test_several_series_are_listed_with_date_and_slices(empty_project, tmp_path):
    folder = write_two_series(tmp_path / "ward_7")
    found = preview_import(empty_project, request_import([folder]))
    assert found.pairs == []
    assert found.left == {str(folder): "holds 2 series: choose"}
    assert [
        (one.number, one.description, one.date, len(one.files))
        for one in found.folders[folder]
    ] == [("1", "T1 post", "2020-11-21", 12), ("7", "scout", "2020-11-20", 11)]
    request = ImportRequest((folder,), series=("1.2.3.4",))
    found = preview_import(empty_project, request)
    assert [pair.case for pair in found.pairs] == ["ward_7"]
    assert found.left == {}
    assert import_pairs(empty_project, request, found.pairs)[0].added == ["ward_7"]
    assert empty_project.case("ward_7").geometry.shape_zyx[0] == 12
    assert "Secret" not in repr(found)


def test_series_of_one_folder_can_be_channels(empty_project, tmp_path):
    """Told by description; a patient who lacks one, or has another grid, stays out."""
    patients = tmp_path / "patients"
    write_two_series(patients / "ward_7", alike=True)
    write_two_series(patients / "ward_8")
    write_two_series(patients / "ward_9")
    for path in (patients / "ward_9").glob("scout_*"):
        path.unlink()
    request = ImportRequest((patients,), channels=("T1=T1 post", "before=SCOUT"))
    found = preview_import(empty_project, request)
    assert [(pair.case, len(pair.channels)) for pair in found.pairs] == [("ward_7", 2)]
    assert any("'ward_9'" in text for text in found.left.values() if "no be" in text)
    assert any("expected the grid of" in text for text in found.left.values())
    import_pairs(empty_project, request, found.pairs)
    case = empty_project.case("ward_7")
    assert case.channel_names == ("T1", "before")
    assert np.array_equal(case.read_image(0).data, case.read_image(1).data)


def test_structures_are_offered_with_the_class_of_their_name(tmp_path):
    folder = write_two_series(tmp_path / "ward_7")
    for path in folder.glob("scout_*"):
        path.unlink()
    geometry, _ = read_geometry(folder)
    drawn = {
        name: [contour(geometry, 3, square(*ends))]
        for name, ends in (("LEFT ATRIUM", (2.5, 9.5)), ("PTV", (11.5, 14.5)))
    }
    path = structure_set(tmp_path / "plans" / "rs.dcm", drawn)
    project = Project.create(tmp_path / "p", {"left atrium": 1, "scar": 2})
    found = preview_import(project, request_import([folder, path]))
    assert found.structures == {"LEFT ATRIUM": 1, "PTV": None}
    (pair,) = found.pairs
    assert pair.mask == path
    request = ImportRequest((folder, path), structures={"LEFT ATRIUM": 1, "PTV": 2})
    import_pairs(project, request, found.pairs)
    label = project.case("ward_7").read_label()
    assert np.bincount(label.ravel()).tolist()[1:] == [49, 9]


def test_masks_beside_their_images_say_so_by_their_names(empty_project, tmp_path):
    folder = tmp_path / "mixed"
    for name in ("a", "b_image", "c"):
        save_nifti(folder / f"{name}.nii.gz", 1.0 * ball(0))
    for name in ("a_seg", "b_mask", "d_seg"):
        save_nifti(folder / f"{name}.nii.gz", ball(0))
    found = preview_import(empty_project, request_import([folder]))
    assert {pair.case: pair.mask and pair.mask.name for pair in found.pairs} == {
        "a": "a_seg.nii.gz",
        "b_image": "b_mask.nii.gz",
        "c": None,
        "d_seg": None,
    }
    import_pairs(empty_project, ImportRequest((folder,)), found.pairs[:3])
    assert [case.id for case in empty_project.cases(state="labelled")] == [
        "a",
        "b_image",
    ]


def test_masks_beside_channels_go_to_the_whole_case(empty_project, tmp_path):
    folder = tmp_path / "brains"
    for case in "ab":
        for ending in ("t1", "flair"):
            save_nifti(folder / case / f"{case}_{ending}.nii.gz", 1.0 * ball(0))
        save_nifti(folder / case / f"{case}_seg.nii.gz", ball(0))
    found = preview_import(empty_project, request_import([folder]))
    assert found.endings == ("FLAIR=_flair", "T1=_t1")
    request = ImportRequest((folder,), channels=found.endings)
    found = preview_import(empty_project, request)
    assert [
        (pair.case, tuple(one.name for one in pair.channels)) for pair in found.pairs
    ] == [
        ("a", ("FLAIR", "T1")),
        ("b", ("FLAIR", "T1")),
    ]
    assert found.left == {}
    assert import_pairs(empty_project, request, found.pairs)[1] == 2
    again = Project.create(tmp_path / "again", {"tumour": 1})
    again.add(folder, channels=request.channels)
    assert attach(again, folder).added == ["a", "b"]


def test_suffixes_of_a_bids_data_set_are_suggested(empty_project, tmp_path):
    for subject in ("sub-01", "sub-02"):
        for suffix in ("T1w", "FLAIR"):
            name = f"{subject}_{suffix}.nii.gz"
            save_nifti(tmp_path / "study" / subject / "anat" / name, 1.0 * ball(0))
    (tmp_path / "study" / "dataset_description.json").write_text("{}")
    request = request_import([tmp_path / "study"])
    found = preview_import(empty_project, request)
    assert found.kinds == ("BIDS",)
    assert found.endings == ("FLAIR", "T1w")
    request = ImportRequest(request.paths, channels=found.endings)
    found = preview_import(empty_project, request)
    assert [(pair.case, len(pair.channels)) for pair in found.pairs] == [
        ("sub-01", 2),
        ("sub-02", 2),
    ]


def test_real_series_on_one_grid_are_channels(empty_project):
    """T1 and a FLAIR that was registered to it, in one folder."""
    folder = data_folder("FORMATS") / "dicom_oblique_two_series_one_folder"
    request = ImportRequest((folder,), channels=("T1=T1post", "FLAIR=FLAIR_reg"))
    found = preview_import(empty_project, request)
    assert [
        (pair.case, tuple(one.name for one in pair.channels)) for pair in found.pairs
    ] == [(folder.name, ("T1", "FLAIR"))]
    import_pairs(empty_project, request, found.pairs)
    t1, flair = empty_project.case(folder.name).read_images()
    assert t1.geometry.shape_zyx == flair.geometry.shape_zyx
    assert not np.array_equal(t1.data, flair.data)


def test_real_structure_sets_go_to_their_own_series(empty_project):
    """CT, MR and PET of one patient, each with a structure set of its own."""
    folder = data_folder("FORMATS") / "dicom_rtstruct"
    found = preview_import(empty_project, request_import([folder]))
    masks = {pair.mask for pair in found.pairs if pair.channels[0].image.is_dir()}
    assert {path.parent.name for path in masks} == {"CT", "MR_T1", "PET"}
    for pair in found.pairs:
        if pair.channels[0].image.is_dir():
            assert pair.mask.parent.samefile(pair.channels[0].image.parent)
    assert list(found.structures) == ["GTV_Mass_CT", "GTV_Mass_MR_T1", "GTV_Mass_PET"]


def test_a_mask_that_fits_two_cases_is_refused(empty_project, tmp_path):
    for suffix in ("T1w", "T2w"):
        save_nifti(tmp_path / "raw" / f"sub-01_{suffix}.nii.gz", 1.0 * ball(1))
    save_nifti(tmp_path / "masks" / "sub-01_dseg.nii.gz", ball(1))
    with pytest.raises(ProjectError, match="both fit its name"):
        preview_import(
            empty_project, ImportRequest((tmp_path / "raw",), tmp_path / "masks")
        )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a_t1", "a_flair", "b_t1", "b_flair"), ("FLAIR=_flair", "T1=_t1")),
        (("a-T1c", "a-T2"), ("T1C=-T1c", "T2=-T2")),
        (("case_1", "case_2", "case_3"), ()),
        (("a_t1", "b_t1", "c_t1"), ()),
        (("a_t1", "a_t2", "b_left", "c_right"), ()),
        (("left", "right"), ()),
    ],
)
def test_names_that_look_like_channels(names, expected):
    assert suggest_endings(names) == expected


def test_the_channels_of_the_project_keep_their_names():
    assert suggest_endings(("a_t1c", "a_t2"), ("T1c", "T2")) == ("T1c=_t1c", "T2=_t2")
