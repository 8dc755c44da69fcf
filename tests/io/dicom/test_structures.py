"""RTSTRUCT and SEG as masks, and SEG and surfaces as what masks become."""

from __future__ import annotations

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import trimesh
from pydicom.sr.codedict import codes

from dicom_files import (
    SHAPE,
    SPACING,
    contour,
    square,
    structure_set,
    write_oblique_series,
)
from napari_semiseg.core.geometry import Geometry
from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.errors import ImageError
from napari_semiseg.io.dicom.segmentation import write_segmentation
from napari_semiseg.io.dicom.series import instances
from napari_semiseg.io.dicom.structures import series_uid
from napari_semiseg.io.images import find_images, read_geometry
from napari_semiseg.io.registry import Author, Mask
from napari_semiseg.io.structures import (
    find_structures,
    open_structures,
    read_structures,
)
from napari_semiseg.io.surface import surface_mm2, write_surface

CLASSES = LabelScheme.parse(["1=left atrium", "4=lower part"]).classes


@pytest.fixture
def series(tmp_path):
    return write_oblique_series(tmp_path / "scan")


def labels_on(geometry):
    """Two boxes in canonical order; one has a hole, none fills its slices."""
    labels = np.zeros(geometry.shape_zyx, np.uint8)
    labels[2:7, 3:15, 4:16] = 1
    labels[3:5, 7:10, 8:12] = 0
    labels[9:11, 3:8, 18:22] = 4
    return labels


@pytest.mark.parametrize("model", [None, "ug_mcl"])
def test_a_segmentation_is_read_back_to_the_same_voxels(series, tmp_path, model):
    geometry, _ = read_geometry(series)
    labels = labels_on(geometry)
    target = tmp_path / "masks" / "scan.dcm"
    write_segmentation(
        target, Mask(labels, geometry, series, CLASSES, Author(model, "r1"))
    )
    # by highdicom
    found = highdicom.seg.segread(target)
    names = [found.get_segment_description(n).segment_label for n in (1, 2)]
    assert names == ["left atrium", "lower part"]
    first = found.get_segment_description(1)
    assert first.segmented_property_type.meaning == "Left atrium"
    assert first.algorithm_type.value == ("AUTOMATIC" if model else "MANUAL")
    second = found.get_segment_description(2)
    assert second.segmented_property_type.meaning == "Anatomical Structure"
    sources = {str(uids[2]) for uids in found.get_source_image_uids()}
    assert sources == {f"1.2.3.4.{number}" for number in range(1, SHAPE[0] + 1)}
    # by ITK, which gives the frames of all segments one behind the other
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(target)))
    rebuilt = np.zeros(SHAPE, np.uint8)
    heights = [index * SPACING[0] for index in range(SHAPE[0])]
    across, down = np.reshape(
        np.array(pydicom.dcmread(series / "00.dcm").ImageOrientationPatient), (2, 3)
    )
    for plane, group in zip(
        stored, found.PerFrameFunctionalGroupsSequence, strict=True
    ):
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        height = (place - [-30.0, 12.0, 5.0]) @ np.cross(across, down)
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        rebuilt[int(np.abs(heights - height).argmin())][plane > 0] = (0, 1, 4)[segment]
    assert np.array_equal(rebuilt.transpose(2, 1, 0), geometry.to_native(labels))
    # by ourselves
    assert find_structures(tmp_path) == [target]
    assert find_images(target.parent) == []
    file = open_structures(target)
    assert file.series == {series_uid(series)}
    read = read_structures(file, ["left atrium", "lower part"], geometry)
    assert np.array_equal(read["left atrium"], labels == 1)
    assert np.array_equal(read["lower part"], labels == 4)


def test_a_segmentation_refers_to_files_without_a_preamble(series, tmp_path):
    for file in series.iterdir():
        file.write_bytes(file.read_bytes()[132:])
    geometry, _ = read_geometry(series)
    labels, target = labels_on(geometry), tmp_path / "seg" / "mask.dcm"
    write_segmentation(target, Mask(labels, geometry, series, CLASSES, Author()))
    read = read_structures(open_structures(target), ["lower part"], geometry)
    assert np.array_equal(read["lower part"], labels == 4)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segmentations_of_all_types_are_read(series, tmp_path, kind):
    concept = codes.SCT.AnatomicalStructure
    values = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
    made = highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(file) for file in instances(series)[0]],
        pixel_array=values,
        segmentation_type=kind,
        segment_descriptions=[
            highdicom.seg.SegmentDescription(
                number, name, concept, concept, algorithm_type="MANUAL"
            )
            for number, name in ((1, "wall"), (2, "clot"))
        ],
        series_instance_uid="1.2.8",
        series_number=1,
        sop_instance_uid="1.2.8.1",
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
    )
    made.save_as(tmp_path / "seg.dcm")
    geometry, _ = read_geometry(series)
    expected = geometry.to_canonical(values.transpose(2, 1, 0))
    file = open_structures(tmp_path / "seg.dcm")
    read = read_structures(file, ["wall", "clot"], geometry)
    assert np.array_equal(read["wall"], expected == 1)
    assert np.array_equal(read["clot"], expected == 2)


def test_a_segmentation_needs_a_dicom_image_and_a_whole_mask(series, tmp_path):
    geometry, _ = read_geometry(series)
    labels = labels_on(geometry)
    target = tmp_path / "mask.dcm"
    nifti = tmp_path / "x.nii.gz"
    nifti.touch()
    with pytest.raises(ImageError, match="another format"):
        write_segmentation(target, Mask(labels, geometry, nifti, CLASSES, Author()))
    labels[0] = 255
    with pytest.raises(ImageError, match="annotated everywhere"):
        write_segmentation(target, Mask(labels, geometry, series, CLASSES, Author()))
    for file in series.iterdir():
        item = pydicom.dcmread(file)
        del item.StudyInstanceUID
        item.save_as(file)
    labels[0] = 0
    with pytest.raises(ImageError, match="that a SEG can refer to"):
        write_segmentation(target, Mask(labels, geometry, series, CLASSES, Author()))
    assert not target.exists()


def test_contours_are_filled_with_their_holes(series, tmp_path):
    geometry, _ = read_geometry(series)
    rois = {
        "atrium": [
            contour(geometry, 3, square(2.5, 12.5)),
            contour(geometry, 3, square(5.5, 8.5)),
            contour(geometry, 4, square(2.5, 12.5)),
        ]
    }
    file = open_structures(structure_set(tmp_path / "rs" / "RS.dcm", rois))
    assert (file.kind, file.series) == ("RTSTRUCT", {series_uid(series)})
    expected = np.zeros(geometry.shape_zyx, bool)
    expected[3:5, 3:13, 3:13] = True
    expected[3, 6:9, 6:9] = False
    filled = read_structures(file, ["atrium"], geometry)["atrium"]
    assert np.array_equal(filled, expected)


def test_contours_beside_the_slices_are_refused(series, tmp_path):
    geometry, _ = read_geometry(series)
    for name, contours in {
        "between": [contour(geometry, 3.5, square(2.5, 12.5))],
        "outside": [contour(geometry, 40, square(2.5, 12.5))],
        "open": [],
    }.items():
        file = open_structures(
            structure_set(tmp_path / f"{name}.dcm", {name: contours})
        )
        with pytest.raises(ImageError, match=name) as caught:
            read_structures(file, [name], geometry)
        assert "expected" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".stl", ".obj", ".ply"])
def test_surfaces_lie_in_patient_millimetres_and_face_outwards(
    series, tmp_path, suffix
):
    geometry, _ = read_geometry(series)
    inside = labels_on(geometry) == 1
    target = tmp_path / f"surface{suffix}"
    write_surface(target, inside, geometry)
    mesh = trimesh.load(target)
    mesh.merge_vertices()
    assert mesh.is_watertight
    voxels = np.argwhere(inside)
    expected = np.count_nonzero(inside) * geometry.voxel_ml * 1000
    assert mesh.volume == pytest.approx(expected, rel=0.05)
    world = (voxels @ geometry.affine[:3, :3].T + geometry.affine[:3, 3]) * (-1, -1, 1)
    assert np.allclose(mesh.center_mass, world.mean(axis=0), atol=0.05)


def test_surface_area_is_in_square_millimetres():
    ball = np.indices((40, 60, 60)).astype(float)
    steps = np.reshape((1.5, 1.0, 1.0), (3, 1, 1, 1))
    distance = np.linalg.norm((ball - [[[[20]]], [[[30]]], [[[30]]]]) * steps, axis=0)
    grid = Geometry.from_native((60, 60, 40), np.diag([-1.0, -1, 1.5, 1]))
    area = surface_mm2((distance < 20).astype(np.uint8) * 4, grid)
    assert area == {4: pytest.approx(4 * np.pi * 400, rel=0.03)}
