"""RTSTRUCT and SEG files as labels of cases, and labels as SEG files."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_files import contour, square, structure_set, write_oblique_series
from napari_semiseg.errors import ImageError, ProjectError
from napari_semiseg.io.masks import read_labels
from napari_semiseg.project.exporting.export import export
from napari_semiseg.project.importing.match_masks import attach
from napari_semiseg.project.importing.propose import propose
from napari_semiseg.project.project import Project
from napari_semiseg.project.review.evaluate import evaluate
from napari_semiseg.project.review.readers import add_reader, reader_masks
from synthetic import snapshot


@pytest.fixture
def project(tmp_path):
    """One DICOM case, "ward_7", and two classes."""
    folder = write_oblique_series(tmp_path / "patients" / "ward_7")
    made = Project.create(tmp_path / "p", {"left atrium": 1, "scar": 2})
    made.add(folder)
    return made


def draw(project, path, *rois):
    """Write a structure set of squares on slices 3 and 4 of the case."""
    geometry = project.case("ward_7").geometry
    drawn = {
        name: [contour(geometry, z, square(*ends)) for z in (3, 4)]
        for name, ends in rois
    }
    return structure_set(path, drawn)


def test_a_structure_set_goes_to_the_series_it_was_drawn_on(project, tmp_path):
    path = draw(project, tmp_path / "rs" / "any.dcm", ("LEFT ATRIUM", (2.5, 9.5)))
    report = attach(project, path.parent)
    assert report.paths == {"ward_7": path}
    label = project.case("ward_7").read_label()
    assert np.unique(label).tolist() == [0, 1]
    assert np.count_nonzero(label) == 2 * 7 * 7
    assert (label[3:5, 3:10, 3:10] == 1).all()


def test_structures_of_other_names_are_asked_for(project, tmp_path):
    path = draw(
        project,
        tmp_path / "rs" / "any.dcm",
        ("GTV", (2.5, 9.5)),
        ("fibrosis", (12.5, 15.5)),
    )
    before = snapshot(project.folder)
    with pytest.raises(ProjectError, match=r"GTV, fibrosis; .*--structure"):
        attach(project, path)
    assert snapshot(project.folder) == before
    attach(project, path, structures={"GTV": 1, "fibrosis": 2})
    label = project.case("ward_7").read_label()
    assert np.bincount(label.ravel()).tolist()[1:] == [98, 18]


def test_structures_that_share_voxels_are_refused(project, tmp_path):
    path = draw(
        project,
        tmp_path / "rs" / "any.dcm",
        ("left atrium", (2.5, 9.5)),
        ("scar", (7.5, 12.5)),
    )
    with pytest.raises(ImageError, match=r"do not overlap.*'scar'"):
        attach(project, path)


def test_a_label_comes_back_from_its_segmentation(project, tmp_path):
    path = draw(
        project,
        tmp_path / "rs" / "any.dcm",
        ("left atrium", (2.5, 9.5)),
        ("scar", (12.5, 15.5)),
    )
    attach(project, path)
    before = project.case("ward_7").read_label()
    report = export(project, tmp_path / "out", fmt="dicom-seg")
    assert [file.name for file in report.written] == [
        "ward_7.dcm",
        "volumes.csv",
        "manifest.json",
    ]
    for text in report.written[1:]:
        assert "Secret" not in text.read_text()
    other = Project.create(tmp_path / "q", {"left atrium": 1, "scar": 2})
    other.add(tmp_path / "patients")
    assert attach(other, tmp_path / "out").added == ["ward_7"]
    assert np.array_equal(other.case("ward_7").read_label(), before)


@pytest.fixture(params=["RTSTRUCT", ".seg.nrrd"])
def by_name(request, project, tmp_path):
    """A label, and a file of its structures whose numbers are the other way round."""
    path = draw(
        project,
        tmp_path / "masks" / "ward_7.dcm",
        ("scar", (12.5, 15.5)),
        ("left atrium", (2.5, 9.5)),
    )
    attach(project, path.parent)
    if request.param == ".seg.nrrd":
        import SimpleITK as sitk

        export(project, tmp_path / "nrrd", fmt="nrrd")
        image = sitk.ReadImage(str(tmp_path / "nrrd" / "ward_7.nrrd"))
        image = sitk.ChangeLabel(image, {1: 2, 2: 1})
        for rank, name in enumerate(("scar", "left atrium")):
            image.SetMetaData(f"Segment{rank}_Name", name)
            image.SetMetaData(f"Segment{rank}_LabelValue", str(rank + 1))
        path.unlink()
        path = path.with_name("ward_7.seg.nrrd")
        sitk.WriteImage(image, str(path))
    return path


def test_structures_are_classes_by_name_wherever_masks_are_read(
    project, by_name, tmp_path
):
    label = project.case("ward_7").read_label()
    export(project, tmp_path / "out")
    scores = evaluate(project, by_name.parent, predictions=tmp_path / "out")
    assert {one.dice for one in scores.cases["ward_7"].values()} == {1.0}
    scores = evaluate(project, tmp_path / "out", predictions=by_name.parent)
    assert {one.dice for one in scores.cases["ward_7"].values()} == {1.0}
    report = propose(project, masks=by_name.parent, cases=["ward_7"])
    case, run = project.case("ward_7"), project.run(report.run)
    proposed = run.read_prediction("ward_7", case.geometry).labels
    assert np.array_equal(proposed, label)
    add_reader(project, "second", by_name.parent)
    case = project.case("ward_7")
    assert np.array_equal(
        read_labels(reader_masks(case)["second"], case.geometry), label
    )
