"""Contours that planning systems really write, and that are easy to fill wrongly."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest

from dicom_files import contour, square, structure_set, write_oblique_series
from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.errors import ImageError
from napari_semiseg.io.dicom.segmentation import write_segmentation
from napari_semiseg.io.images import read_geometry
from napari_semiseg.io.registry import Mask
from napari_semiseg.io.structures import open_structures, read_structures


@pytest.fixture
def series(tmp_path):
    return write_oblique_series(tmp_path / "scan")


@pytest.fixture
def geometry(series):
    return read_geometry(series)[0]


def exclusive(item):
    item.ContourGeometricType = "CLOSEDPLANAR_XOR"
    return item


def filled(tmp_path, geometry, contours, name="atrium"):
    file = open_structures(structure_set(tmp_path / "rs" / "RS.dcm", {name: contours}))
    return read_structures(file, [name], geometry)[name]


def boxes(geometry, *found):
    expected = np.zeros(geometry.shape_zyx, bool)
    for z, low, high, value in found:
        expected[z, low:high, low:high] = value
    return expected


def test_exclusive_contours_cut_holes(tmp_path, geometry):
    outer, inner = square(2.5, 14.5), square(5.5, 8.5)
    contours = [
        exclusive(contour(geometry, 3, outer)),
        exclusive(contour(geometry, 3, inner)),
        contour(geometry, 5, outer),
        exclusive(contour(geometry, 5, inner)),
    ]
    expected = boxes(geometry, (3, 3, 15, 1), (3, 6, 9, 0), (5, 3, 15, 1), (5, 6, 9, 0))
    assert np.array_equal(filled(tmp_path, geometry, contours), expected)


def test_overlapping_contours_add_up_and_a_second_copy_changes_nothing(
    tmp_path, geometry
):
    one, other = square(2.5, 9.5), square(6.5, 12.5)
    contours = [contour(geometry, 3, corners) for corners in (one, other, one)]
    expected = boxes(geometry, (3, 3, 10, 1), (3, 7, 13, 1))
    assert np.array_equal(filled(tmp_path, geometry, contours), expected)


def test_a_contour_inside_a_hole_adds_again(tmp_path, geometry):
    corners = (square(0.5, 17.5), square(3.5, 14.5), square(6.5, 10.5))
    contours = [contour(geometry, 3, each) for each in corners]
    expected = boxes(geometry, (3, 1, 18, 1), (3, 4, 15, 0), (3, 7, 11, 1))
    assert np.array_equal(filled(tmp_path, geometry, contours), expected)


def test_contours_without_area_add_no_voxel(tmp_path, geometry):
    line = [(3.0, 3.0), (3.0, 9.0), (3.0, 3.0)]
    contours = [contour(geometry, 3, line), contour(geometry, 4, square(2.5, 5.5))]
    contours.append(contour(geometry, 3, [(4.0, 4.0)]))
    expected = boxes(geometry, (4, 3, 6, 1))
    assert np.array_equal(filled(tmp_path, geometry, contours), expected)


def test_structures_of_one_name_are_one_structure(tmp_path, geometry):
    path = structure_set(
        tmp_path / "RS.dcm",
        {
            "thing": [contour(geometry, 3, square(2.5, 5.5))],
            "other": [contour(geometry, 6, square(8.5, 12.5))],
        },
    )
    item = pydicom.dcmread(path)
    item.StructureSetROISequence[1].ROIName = "thing"
    item.save_as(path)
    found = read_structures(open_structures(path), ["thing"], geometry)["thing"]
    assert np.array_equal(found, boxes(geometry, (3, 3, 6, 1), (6, 9, 13, 1)))


def test_a_structure_without_contours_does_not_refuse_the_others(tmp_path, geometry):
    path = structure_set(
        tmp_path / "RS.dcm",
        {"thing": [contour(geometry, 3, square(2.5, 5.5))], "empty": []},
    )
    file = open_structures(path)
    found = read_structures(file, ["thing", "empty"], geometry)
    assert np.array_equal(found["thing"], boxes(geometry, (3, 3, 6, 1)))
    assert not found["empty"].any()
    with pytest.raises(ImageError, match="closed contours of 'empty'"):
        read_structures(file, ["empty"], geometry)


@pytest.mark.parametrize("slices", [(4,), (1, 4), (0, 3, 5)], ids=str)
def test_slices_of_a_segmentation_lie_where_their_frames_say(
    tmp_path, series, geometry, slices
):
    labels = boxes(geometry, *((k, 3, 9, 1) for k in slices)).astype(np.uint8)
    target = tmp_path / "seg.dcm"
    classes = LabelScheme.parse(["1=thing"]).classes
    write_segmentation(target, Mask(labels, geometry, series, classes))
    item = pydicom.dcmread(target)
    measures = item.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if "SpacingBetweenSlices" in measures:
        del measures.SpacingBetweenSlices
    measures.SliceThickness = 5
    assert int(item.NumberOfFrames) == len(slices)
    item.save_as(target)
    found = read_structures(open_structures(target), ["thing"], geometry)["thing"]
    assert np.array_equal(found, labels == 1)
