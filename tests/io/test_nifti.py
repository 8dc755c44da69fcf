from __future__ import annotations

import gzip
import itertools
import math
import re
from io import BytesIO

import hypothesis.strategies as st
import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from scipy.spatial.transform import Rotation

from napari_semiseg.core.cancellation import CancellationToken, Cancelled
from napari_semiseg.errors import ImageError
from napari_semiseg.io.images import read_geometry, read_image
from napari_semiseg.io.masks import read_labels, read_map, write_labels, write_map

PLACE = (
    "dim",
    "pixdim",
    "xyzt_units",
    "qform_code",
    "sform_code",
    *(f"quatern_{axis}" for axis in "bcd"),
    *(f"qoffset_{axis}" for axis in "xyz"),
    *(f"srow_{axis}" for axis in "xyz"),
)
ORDERS = [
    np.eye(3)[list(order)] * np.array(signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]


def affine_of(order, zooms, tilt_degrees=(0, 0, 0), origin=(-31.5, 12.25, 107.0)):
    """RAS affine whose axes lie near the directions of a signed permutation."""
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", tilt_degrees, degrees=True).as_matrix()
    affine[:3, :3] = turn @ order * zooms
    affine[:3, 3] = origin
    return affine


def save(path, data, affine, *, qform=1, sform=1, slope=None, kind=nibabel.Nifti1Image):
    image = kind(data, affine)
    image.header.set_qform(affine, code=qform)
    image.header.set_sform(affine, code=sform)
    image.header.set_xyzt_units("mm", "sec")
    if slope is not None:
        image.header.set_slope_inter(*slope)
    image.to_filename(path)
    return path


def same_place(mask, image):
    """Header fields that say where voxels lie and that differ; none should."""
    one, other = nibabel.load(mask).header, nibabel.load(image).header
    return [name for name in PLACE if one[name].tobytes() != other[name].tobytes()]


@pytest.mark.parametrize("tilt", [(0, 0, 0), (11, -7, 23)], ids=["straight", "oblique"])
@pytest.mark.parametrize("index", range(48))
def test_all_axis_orders_round_trip_voxel_for_voxel(tmp_path, index, tilt):
    rng = np.random.default_rng(index)
    data = rng.integers(-900, 3000, (4, 5, 6)).astype(np.int16)
    affine = affine_of(ORDERS[index], (0.8, 1.5, 3.0), tilt)
    path = save(tmp_path / "image.nii.gz", data, affine)
    image = read_image(path)
    steps = image.geometry.affine[:3, :3] / image.geometry.spacing_mm
    superior, posterior, left = steps[2, 0], -steps[1, 1], -steps[0, 2]
    assert min(superior, posterior, left) > 0.8
    for _ in range(10):
        voxel = rng.integers(0, image.data.shape)
        world = image.geometry.affine @ (*voxel, 1)
        native = np.linalg.solve(nibabel.load(path).affine, world)[:3]
        stored = data[tuple(np.rint(native).astype(int))]
        assert image.data[tuple(voxel)] == stored
    labels = rng.integers(0, 256, image.data.shape).astype(np.uint8)
    target = tmp_path / "mask.nii.gz"
    write_labels(target, labels, image.geometry, path)
    assert same_place(target, path) == []
    assert nibabel.aff2axcodes(nibabel.load(target).affine) == nibabel.aff2axcodes(
        nibabel.load(path).affine
    )
    assert np.array_equal(read_labels(target, image.geometry), labels)
    stored = np.asarray(nibabel.load(target).dataobj)
    assert np.array_equal(stored, image.geometry.to_native(labels))


@st.composite
def stored_images(draw):
    """Voxels, affine and options of a NIfTI file of any ordinary kind."""
    shape = draw(st.tuples(*[st.integers(2, 6)] * 3))
    dtype = draw(
        st.sampled_from(["u1", "i2", "u2", "i4", "f4", "f8", ">i2", ">f4", "i1"])
    )
    angles = st.floats(-180, 180, allow_nan=False)
    affine = affine_of(
        draw(st.sampled_from(ORDERS)),
        draw(st.tuples(*[st.floats(0.05, 20)] * 3)),
        draw(st.tuples(angles, angles, angles)),
        draw(st.tuples(*[st.floats(-2000, 2000)] * 3)),
    )
    codes = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    slope = draw(
        st.none() | st.tuples(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3, width=32))
    )
    seed = draw(st.integers(0, 2**32 - 1))
    voxels = np.random.default_rng(seed).uniform(0, 120, shape).astype(dtype)
    ones = draw(st.integers(0, 2))
    return voxels.reshape(shape + (1,) * ones), affine, codes, slope


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    stored=stored_images(),
    kind=st.sampled_from([nibabel.Nifti1Image, nibabel.Nifti2Image]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_a_mask_lies_where_its_image_does(tmp_path, stored, kind, suffix):
    voxels, affine, (qform, sform), slope = stored
    path = save(
        tmp_path / f"image{suffix}",
        voxels,
        affine,
        qform=qform,
        sform=sform,
        slope=slope,
        kind=kind,
    )
    before = path.read_bytes()
    image = read_image(path)
    native = image.geometry.to_native(image.data)
    expected = nibabel.load(path)
    assert image.geometry.native_shape == expected.shape[:3]
    assert np.allclose(image.geometry.native_affine, expected.affine, atol=1e-9)
    if slope is None:
        assert image.data.dtype == voxels.dtype.newbyteorder("=")
        assert np.array_equal(native, voxels.reshape(native.shape))
    else:
        assert image.data.dtype == np.float32
        scaled = expected.get_fdata().reshape(native.shape)
        assert np.allclose(native, scaled, rtol=1e-5, atol=1e-5 * np.abs(scaled).max())
    labels = (image.data > np.median(image.data)).astype(np.uint8) * 255
    target = tmp_path / f"mask{suffix}"
    write_labels(target, labels, image.geometry, path)
    mask = nibabel.load(target)
    assert type(mask) is type(expected)
    assert mask.shape == expected.shape
    assert np.array_equal(mask.affine, expected.affine)
    assert same_place(target, path) == []
    assert mask.get_data_dtype() == np.uint8
    assert (mask.dataobj.slope, mask.dataobj.inter) == (1.0, 0.0)
    assert np.array_equal(read_labels(target, image.geometry), labels)
    assert path.read_bytes() == before, "the image must never change"


def test_a_mask_says_nothing_of_the_intensities_of_its_image(tmp_path):
    affine = affine_of(ORDERS[0], (1, 1, 1))
    source = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), affine)
    source.header["cal_max"], source.header["cal_min"] = 900, -100
    source.header.set_intent("t test", (12,), name="stat")
    source.header["descrip"], source.header["aux_file"] = b"TE 30", b"colours.lut"
    source.header["db_name"] = b"Doe^Jane"
    source.header.set_slope_inter(2.5, -1024)
    source.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"patient name"))
    path = tmp_path / "image.nii.gz"
    source.to_filename(path)
    geometry, _ = read_geometry(path)
    target = tmp_path / "mask.nii.gz"
    write_labels(target, np.ones(geometry.shape_zyx, np.uint8), geometry, path)
    header = nibabel.load(target).header
    assert header["cal_max"] == header["cal_min"] == 0
    assert header.get_intent() == ("none", (), "")
    assert header["descrip"] == header["aux_file"] == header["db_name"] == b""
    assert len(header.extensions) == 0
    assert np.asarray(nibabel.load(target).dataobj).max() == 1


def test_masks_are_the_same_bytes_each_time(tmp_path):
    path = save(
        tmp_path / "i.nii.gz", np.zeros((4, 4, 4), np.uint8), affine_of(ORDERS[7], 2)
    )
    geometry, _ = read_geometry(path)
    labels = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    write_labels(tmp_path / "a.nii.gz", labels, geometry, path)
    write_labels(tmp_path / "b.nii.gz", labels, geometry, path)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_hdr_img_pairs_get_a_mask_in_one_file(tmp_path):
    data = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    path = tmp_path / "pair.hdr"
    affine = affine_of(ORDERS[10], (1, 2, 3), (5, 5, 5))
    save(path, data, affine, qform=1, sform=2, kind=nibabel.Nifti1Pair)
    image = read_image(path)
    assert np.array_equal(image.geometry.to_native(image.data), data)
    target = tmp_path / "mask.nii.gz"
    write_labels(target, (image.data % 7).astype(np.uint8), image.geometry, path)
    assert same_place(target, path) == []
    assert np.array_equal(read_labels(target, image.geometry), image.data % 7)


def test_mgh_files_read_and_get_nifti_masks(tmp_path):
    data = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    path = tmp_path / "t1.mgz"
    affine = affine_of(ORDERS[3], (1, 2, 3), (5, 5, 5))
    nibabel.MGHImage(data, affine).to_filename(path)
    image = read_image(path)
    assert np.array_equal(image.geometry.to_native(image.data), data)
    write_labels(
        tmp_path / "m.nii.gz", (image.data % 3).astype(np.uint8), image.geometry, path
    )
    mask = nibabel.load(tmp_path / "m.nii.gz")
    assert np.allclose(mask.affine, affine, atol=1e-4)
    assert mask.header["sform_code"] == mask.header["qform_code"] == 1
    assert np.array_equal(np.asarray(mask.dataobj), data % 3)


def two_forms(path, qform_code, sform_code, shift=(0, 5, 0)):
    affine = affine_of(ORDERS[0], (1, 1, 1))
    other = affine.copy()
    other[:3, 3] += shift
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), None)
    image.header.set_qform(affine, code=qform_code)
    image.header.set_sform(other, code=sform_code)
    image.to_filename(path)
    return affine, other


@pytest.mark.parametrize(
    ("qform", "sform", "wins"), [(1, 1, "sform"), (1, 0, "qform"), (0, 2, "sform")]
)
def test_sform_wins_where_it_has_a_code_and_a_quarrel_is_told(
    tmp_path, qform, sform, wins
):
    affines = dict(
        zip(
            ("qform", "sform"),
            two_forms(tmp_path / "i.nii", qform, sform),
            strict=True,
        )
    )
    geometry, notes = read_geometry(tmp_path / "i.nii")
    assert np.allclose(geometry.native_affine, affines[wins])
    if qform and sform:
        (note,) = notes
        assert "qform and sform disagree by up to 5 mm" in note
    else:
        assert notes == ()


def test_rounding_between_qform_and_sform_is_no_quarrel(tmp_path):
    two_forms(tmp_path / "i.nii", 1, 1, shift=(0, 0.1, 0))
    assert read_geometry(tmp_path / "i.nii")[1] == ()


def test_neither_form_is_told(tmp_path):
    two_forms(tmp_path / "i.nii", 0, 0)
    (note,) = read_geometry(tmp_path / "i.nii")[1]
    assert "neither qform nor sform" in note


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_negative_voxel_size_is_noted(tmp_path, ending, kind, axis):
    data = np.zeros((3, 4, 5), np.int16)
    path = save(tmp_path / f"i{ending}", data, np.diag([2.0, 3, 4, 1]), kind=kind)
    assert read_geometry(path)[1] == ()
    packed = path.read_bytes()
    content = bytearray(gzip.decompress(packed) if ending == ".nii.gz" else packed)
    header = kind.header_class.from_fileobj(BytesIO(content), check=False)
    header["pixdim"][axis] *= -1
    content[: len(header.binaryblock)] = header.binaryblock
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    geometry, (note,) = read_geometry(path)
    assert note.startswith(f"i{ending}: pixdim is negative")
    assert geometry.spacing_mm == (4.0, 3.0, 2.0)
    write_labels(
        tmp_path / "mask.nii.gz", np.zeros((5, 4, 3), np.uint8), geometry, path
    )
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    assert (mask.header["pixdim"][1:4] > 0).all()
    np.testing.assert_allclose(mask.affine, geometry.native_affine)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1e-3), ("meter", 1e3)])
def test_other_units_become_mm_and_stay_in_the_mask(tmp_path, unit, factor):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.diag([2, 3, 4, 1]))
    image.header.set_xyzt_units(unit)
    path = tmp_path / "i.nii"
    image.to_filename(path)
    geometry, (note,) = read_geometry(path)
    assert geometry.spacing_mm == pytest.approx((4 * factor, 3 * factor, 2 * factor))
    assert unit in note
    write_labels(tmp_path / "m.nii", np.zeros((4, 4, 4), np.uint8), geometry, path)
    assert same_place(tmp_path / "m.nii", path) == []
    assert read_labels(tmp_path / "m.nii", geometry).shape == (4, 4, 4)


def refused(path, *parts):
    """The message of an ImageError: one line that names the file."""
    with pytest.raises(ImageError) as caught:
        read_image(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), "expected", "found", ";", *parts):
        assert part in message
    return message


def test_refuses_what_is_not_there_or_no_image(tmp_path):
    refused(tmp_path / "none.nii.gz", "nothing there")
    for name in ("empty.nii.gz", "empty.nii", "empty.mgz", "empty.hdr"):
        (tmp_path / name).write_bytes(b"")
        refused(tmp_path / name)
    (tmp_path / "text.nii.gz").write_text("not an image at all " * 100)
    refused(tmp_path / "text.nii.gz")
    (tmp_path / "text.nii").write_text("not an image at all " * 100)
    refused(tmp_path / "text.nii")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    refused(tmp_path / "picture.png", ".nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_refuses_torn_files(tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = save(
        tmp_path / f"i{suffix}",
        rng.integers(0, 9999, (20, 20, 20)).astype(np.int16),
        np.eye(4),
    )
    whole = path.read_bytes()
    for size in (len(whole) // 2, 100, len(whole) - 20):
        path.write_bytes(whole[:size])
        refused(path, "whole image file")


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_broken_headers_are_refused_in_a_line_or_read(tmp_path, kind):
    rng = np.random.default_rng(0)
    path = save(tmp_path / "i.nii", np.zeros((5, 6, 7), np.int16), np.eye(4), kind=kind)
    whole = path.read_bytes()
    outcomes = set()
    for _ in range(150):
        broken = bytearray(whole)
        for place in rng.integers(0, 140, 3):
            broken[place] = rng.integers(0, 256)
        path.write_bytes(broken)
        with np.errstate(all="ignore"):
            try:
                outcomes.add(read_image(path).data.ndim)
            except ImageError as error:
                plain = not re.search(rf"\n|\bnp\.|{path}.*{path}", str(error))
                outcomes.add("refused in one line" * plain)
    assert outcomes == {3, "refused in one line"}


def test_refuses_voxels_that_are_no_real_numbers(tmp_path):
    path = tmp_path / "i.nii.gz"
    nibabel.Nifti1Image(np.zeros((4, 4, 4), np.complex64), np.eye(4)).to_filename(path)
    refused(path, "real numbers", "complex64")
    rgb = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.Nifti1Image(rgb, np.eye(4)).to_filename(path)
    refused(path, "colours (R, G, B)")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_refuses_voxels_that_are_not_finite_but_reads_the_grid(tmp_path, value):
    data = np.zeros((4, 4, 4), np.float32)
    data[1, 2, 3] = data[0, 0, 0] = value
    path = save(tmp_path / "i.nii.gz", data, np.eye(4))
    refused(path, "2 that are NaN or infinite")
    assert read_geometry(path)[0].shape_zyx == (4, 4, 4)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((4, 4), "2D data"),
        ((4, 4, 4, 3), "4D data"),
        ((4, 4, 4, 1, 3), "5D data"),
        ((4, 1, 4), "single slice"),
        ((4, 4, 1, 1), "single slice"),
    ],
)
def test_refuses_what_is_not_one_volume(tmp_path, shape, words):
    path = save(tmp_path / "i.nii.gz", np.zeros(shape, np.uint8), np.eye(4))
    refused(path, words, str(tuple(shape)[:2])[1:-1])


def test_refuses_shear_and_collapsed_axes_but_not_rounding(tmp_path):
    sheared = np.eye(4)
    sheared[0, 2] = np.tan(np.radians(10))
    path = tmp_path / "i.nii.gz"
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), sheared)
    image.to_filename(path)
    refused(path, "right angles", "80.0 degrees")
    sheared[0, 2] = 1e-4
    nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), sheared).to_filename(path)
    assert read_image(path).data.shape == (4, 4, 4)
    image.header["srow_z"] = image.header["srow_x"]
    image.header["sform_code"] = 1
    nibabel.Nifti1Image(image.dataobj, None, image.header).to_filename(path)
    refused(path, "three directions")


def test_maps_keep_values_to_half_a_step_on_the_grid_of_the_image(tmp_path):
    rng = np.random.default_rng(5)
    path = save(
        tmp_path / "i.nii.gz",
        np.zeros((4, 5, 6, 1), np.int16),
        affine_of(ORDERS[21], (1, 2, 3), (4, 5, 6)),
        sform=2,
    )
    geometry, _ = read_geometry(path)
    sdm = rng.uniform(-300, 300, (3, *geometry.shape_zyx)).astype(np.float32)
    sdm[0, 0, 0, 0], sdm[1, 0, 0, 0] = 1e6, -1e6
    target = tmp_path / "sdm.nii.gz"
    write_map(target, sdm, geometry, path, slope=0.01, dtype=np.int16)
    stored = nibabel.load(target)
    assert stored.shape == (4, 5, 6, 3)
    assert stored.get_data_dtype() == np.int16
    assert [name for name in same_place(target, path) if name != "dim"] == []
    clipped = np.clip(sdm, -327.68, 327.67)
    back = read_map(target, geometry)
    assert back.dtype == np.float32
    assert np.abs(back - clipped).max() < 0.0051
    one = tmp_path / "one.nii.gz"
    write_map(one, sdm[1:2], geometry, path, slope=0.01, dtype=np.int16)
    assert np.array_equal(read_map(one, geometry), back[1:2])
    doubt = rng.random(geometry.shape_zyx)
    doubt[0, 0, :2] = 0, 1
    write_map(one, doubt, geometry, path, slope=1 / 255, dtype=np.uint8)
    back = read_map(one, geometry)
    assert nibabel.load(one).shape == (4, 5, 6)
    assert np.abs(back - doubt).max() < 0.5001 / 255
    assert back[0, 0, :2] == pytest.approx([0, 1], abs=1e-7)


@pytest.mark.parametrize("name", ["m.nii.gz", "m.nii"])
def test_a_writing_that_is_ended_leaves_what_was_there(tmp_path, monkeypatch, name):
    path = save(tmp_path / "i.nii.gz", np.zeros((40, 50, 60), np.int16), np.eye(4))
    geometry, _ = read_geometry(path)
    values = np.random.default_rng(0).random((1, *geometry.shape_zyx))
    how = {"geometry": geometry, "image": path, "slope": 1e-4, "dtype": np.int16}
    target, calls = tmp_path / name, []
    write_map(target, values, **how)
    whole = target.read_bytes()
    monkeypatch.setattr("napari_semiseg.io.nifti.PIECE", 10_000)

    def counted():
        calls.append(1)
        return len(calls) > most

    most = math.inf
    write_map(target, values, **how, cancellation=CancellationToken(counted))
    back = read_map(target, geometry)
    assert np.abs(back - values).max() < 1e-4
    pieces = 2 * values.size // 10_000
    assert len(calls) > geometry.shape_zyx[0] + pieces
    before = target.read_bytes()
    assert len(before) == len(whole)

    most = geometry.shape_zyx[0] + pieces // 2
    calls.clear()
    with pytest.raises(Cancelled):
        write_map(target, values + 1, **how, cancellation=CancellationToken(counted))
    assert target.read_bytes() == before
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted([name, path.name])


def test_a_map_must_be_finite_and_fit(tmp_path):
    path = save(tmp_path / "i.nii.gz", np.zeros((4, 5, 6), np.int16), np.eye(4))
    geometry, _ = read_geometry(path)
    values = np.full(geometry.shape_zyx, np.nan)
    with pytest.raises(ValueError, match="finite"):
        write_map(tmp_path / "m.nii.gz", values, geometry, path, slope=1, dtype="i2")
    with pytest.raises(ImageError, match=r"\(6, 5, 4\).*\(6, 5, 5\)"):
        write_map(
            tmp_path / "m.nii.gz",
            np.zeros((6, 5, 5)),
            geometry,
            path,
            slope=1,
            dtype="i2",
        )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["i.nii.gz"]


def test_analyze_is_read_with_a_note_and_its_masks_are_nifti(tmp_path):
    data = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    source = nibabel.AnalyzeImage(data, None)
    source.header.set_zooms((1.0, 2.0, 3.0))
    source.to_filename(tmp_path / "old.img")
    path = tmp_path / "old.hdr"
    geometry, notes = read_geometry(path)
    assert "left from right" in notes[0]
    assert geometry.spacing_mm == (3.0, 2.0, 1.0)
    image = read_image(path)
    assert np.array_equal(geometry.to_native(image.data), data)
    labels = (image.data % 3).astype(np.uint8)
    write_labels(tmp_path / "mask.nii.gz", labels, geometry, path)
    mask = nibabel.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj), data % 3)
    assert np.allclose(mask.affine, nibabel.load(path).affine)


@pytest.mark.parametrize("name", ["packed.nii", "plain.nii.gz"])
def test_an_ending_that_says_the_wrong_compression_is_named(tmp_path, name):
    suffix = ".nii.gz" if name == "packed.nii" else ".nii"
    path = save(tmp_path / f"i{suffix}", np.zeros((4, 5, 6), np.int16), np.eye(4))
    with pytest.raises(ImageError, match=r"as its ending says.*rename it"):
        read_image(path.rename(tmp_path / name))


def test_a_file_of_several_gzip_members_is_read(tmp_path):
    values = np.random.default_rng(0).integers(0, 900, (7, 8, 9)).astype(np.int16)
    plain = save(tmp_path / "i.nii", values, np.eye(4)).read_bytes()
    parts = [plain[i : i + 200] for i in range(0, len(plain), 200)]
    path = tmp_path / "members.nii.gz"
    path.write_bytes(b"".join(map(gzip.compress, parts)))
    image = read_image(path)
    assert np.array_equal(image.geometry.to_native(image.data), values)
