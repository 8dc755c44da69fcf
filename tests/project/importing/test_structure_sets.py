"""RTSTRUCT and SEG files as labels of cases, and labels as SEG files."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_files import contour, square, structure_set, write_oblique_series
from napari_semiseg.errors import ImageError, ProjectError
from napari_semiseg.project.exporting.export import export
from napari_semiseg.project.importing.match_masks import attach
from napari_semiseg.project.project import Project
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
