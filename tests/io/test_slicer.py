"""Segmentations of 3D Slicer go by the names of their segments."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from napari_semiseg.errors import ImageError
from napari_semiseg.io.images import find_images, read_geometry
from napari_semiseg.io.structures import (
    find_structures,
    open_structures,
    read_structures,
)

SHAPE = (10, 12, 14)
"""Slices, rows, columns."""
STEPS = (0.8, 0.9, 2.0)
ORIGIN = np.array([-10.0, 20.0, 30.0])


@pytest.fixture
def geometry(tmp_path):
    image = sitk.GetImageFromArray(np.zeros(SHAPE, np.int16))
    image.SetSpacing(STEPS)
    image.SetOrigin(ORIGIN.tolist())
    sitk.WriteImage(image, str(tmp_path / "case.nrrd"))
    return read_geometry(tmp_path / "case.nrrd")[0]


def write(path, layers, segments, first=(0, 0, 0)):
    """Write layers (slice, row, column, layer) from the voxel ``first`` on."""
    several = layers.shape[-1] > 1
    values = layers if several else layers[..., 0]
    x, y, z = STEPS
    across = ["none"] if several else []
    origin = ORIGIN + np.array(STEPS) * first[::-1]
    header = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {values.ndim}",
        "space: left-posterior-superior",
        "sizes: " + " ".join(map(str, values.shape[::-1])),
        "space directions: "
        + " ".join([*across, f"({x},0,0)", f"(0,{y},0)", f"(0,0,{z})"]),
        "space origin: ({},{},{})".format(*origin),
        "kinds: " + " ".join(["list"] * several + ["domain"] * 3),
        "encoding: raw",
    ]
    for rank, (name, value, layer) in enumerate(segments):
        header += [
            f"Segment{rank}_ID:=Segment_{rank}",
            f"Segment{rank}_Name:={name}",
            f"Segment{rank}_LabelValue:={value}",
            f"Segment{rank}_Layer:={layer}",
        ]
    path.write_bytes("\n".join(header).encode() + b"\n\n" + values.tobytes())
    return path


def test_segments_are_known_by_name_whatever_their_values(tmp_path, geometry):
    layers = np.zeros((*SHAPE, 1), np.uint8)
    layers[2:8, 2:10, 2:12] = 2
    layers[4:6, 4:6, 4:6] = 1
    path = write(tmp_path / "case.seg.nrrd", layers, [("tumor", 1, 0), ("liver", 2, 0)])
    assert find_structures(tmp_path) == [path]
    assert find_images(tmp_path) == [tmp_path / "case.nrrd"]
    file = open_structures(path)
    assert set(file.names) == {"tumor", "liver"}
    found = read_structures(file, ["liver", "tumor"], geometry)
    for name, value in (("tumor", 1), ("liver", 2)):
        native = geometry.to_native(found[name]).transpose(2, 1, 0)
        assert np.array_equal(native, layers[..., 0] == value)


@pytest.mark.parametrize("slices", [3, 1])
def test_a_cropped_segmentation_lies_where_its_origin_says(tmp_path, geometry, slices):
    part = np.ones((slices, 4, 5, 1), np.uint8)
    path = write(tmp_path / "a.seg.nrrd", part, [("thing", 1, 0)], first=(2, 3, 4))
    found = read_structures(open_structures(path), ["thing"], geometry)["thing"]
    expected = np.zeros(SHAPE, bool)
    expected[2 : 2 + slices, 3:7, 4:9] = True
    assert np.array_equal(geometry.to_native(found).transpose(2, 1, 0), expected)
    beyond = (SHAPE[0] - slices + 1, 3, 4)
    path = write(tmp_path / "b.seg.nrrd", part, [("thing", 1, 0)], first=beyond)
    with pytest.raises(ImageError, match="on the image's grid"):
        read_structures(open_structures(path), ["thing"], geometry)


def test_segments_that_overlap_are_read_from_their_layers(tmp_path, geometry):
    layers = np.zeros((*SHAPE, 2), np.uint8)
    layers[2:8, 2:10, 2:12, 0] = 1
    layers[4:6, 4:6, 4:6, 1] = 1
    path = write(tmp_path / "a.seg.nrrd", layers, [("thing", 1, 0), ("part", 1, 1)])
    found = read_structures(open_structures(path), ["thing", "part"], geometry)
    for layer, name in enumerate(("thing", "part")):
        native = geometry.to_native(found[name]).transpose(2, 1, 0)
        assert np.array_equal(native, layers[..., layer] == 1)
