"""The runner, with a network that was never trained, and without PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import napari_semiseg as ss
from dicom_files import write_oblique_series
from napari_semiseg.core.labels import LabelClass
from napari_semiseg.core.plan import Intensity
from napari_semiseg.deployment.pipeline import Pipeline
from napari_semiseg.errors import ConfigError, ImageError, ProjectError, SemisegError
from napari_semiseg.io.images import file_sha256, read_image
from napari_semiseg.io.masks import read_labels

PATCH = (8, 8, 8)
GREY = Intensity(kind="ct", cut=(-100.0, 100.0), mean_std=(0.0, 1.0))
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from napari_semiseg.__main__ import main
code = main()
loaded = [name for name in sys.modules if name.split(".")[0] in ("torch", "qtpy")]
assert loaded in (["torch"], []), loaded
sys.exit(code)
"""


def exported(folder: Path, channels: int = 1, single: tuple[int, ...] = ()) -> Path:
    """A model that takes for a structure what is bright in the last channel."""
    shape = [1, channels, *PATCH]
    nodes = [
        helper.make_node("Slice", ["image", "low", "high", "axis"], ["last"]),
        helper.make_node("Sigmoid", ["last"], ["bright"]),
        helper.make_node("Sub", ["one", "bright"], ["dark"]),
        helper.make_node("Concat", ["dark", "bright"], ["probabilities"], axis=1),
    ]
    numbers = {"low": channels - 1, "high": channels, "axis": 1}
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in numbers.items()
    ]
    constants.append(helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]))
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("probabilities", 1, [1, 2, *PATCH])],
        constants,
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    Pipeline(
        project="atrium",
        run="by hand",
        method="none",
        step=0,
        written_by="a test",
        model="model.onnx",
        model_sha256=file_sha256(folder / "model.onnx"),
        channels=("T1", "T2")[:channels] if channels > 1 else ("image",),
        intensities=(GREY,) * channels,
        spacing_mm=(1.0, 1.0, 1.0),
        patch_zyx=PATCH,
        overlap=0.5,
        gaussian_sigma=0.125,
        flips=((), (2,)),
        single_pieces=single,
        classes=(LabelClass(value=7, name="bright", colour="#E69F00"),),
    ).write(folder / "pipeline.json")
    return folder


def save(path: Path, data: np.ndarray, spacing: float = 1.0) -> Path:
    affine = np.diag([-spacing, spacing, spacing, 1.0])
    nib.save(nib.Nifti1Image(data.astype(np.float32), affine), path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    data = np.random.default_rng(0).normal(0, 20, (13, 20, 9))
    return save(tmp_path / "scan.nii.gz", data)


def test_an_image_becomes_a_mask_on_its_grid(tmp_path: Path, image: Path) -> None:
    steps = []
    found = ss.run_model(
        exported(tmp_path / "model"),
        [image],
        tmp_path / "out",
        progress=lambda *step: steps.append(step),
    )
    assert steps == [(1, 1)]
    mask = nib.load(found["scan"].mask)
    source = nib.load(image)
    assert np.array_equal(mask.affine, source.affine)
    values = np.asarray(mask.dataobj)
    assert np.array_equal(values, np.where(source.get_fdata() > 0, 7, 0))
    voxels = np.count_nonzero(values)
    assert found["scan"].volumes_ml == {"bright": pytest.approx(voxels / 1000)}


def test_finer_images_are_segmented_on_the_working_grid(tmp_path: Path) -> None:
    data = np.full((20, 24, 28), -50.0)
    data[4:12] = 50.0
    image = save(tmp_path / "fine.nii.gz", data, spacing=0.5)
    found = ss.run_model(exported(tmp_path / "model"), [image], tmp_path / "out")
    values = np.asarray(nib.load(found["fine"].mask).dataobj)
    assert np.array_equal(values > 0, data > 0)


@pytest.mark.parametrize("single", [(), (7,)])
def test_the_largest_piece_stays_where_structures_are_one(
    tmp_path: Path, single: tuple[int, ...]
) -> None:
    data = np.full((20, 24, 28), -50.0)
    data[2:8], data[14:18] = 50.0, 50.0
    image = save(tmp_path / "two.nii.gz", data)
    model = exported(tmp_path / "model", single=single)
    found = ss.run_model(model, [image], tmp_path / "out")
    values = np.asarray(nib.load(found["two"].mask).dataobj) > 0
    assert values[2:8].all()
    assert values[14:18].any() == (not single)
    voxels = np.count_nonzero(values)
    assert found["two"].volumes_ml == {"bright": pytest.approx(voxels / 1000)}


def test_the_program_loads_no_torch(tmp_path: Path, image: Path) -> None:
    model = exported(tmp_path / "model")
    words = ["run-model", model, image, "--out", tmp_path / "masks", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert Path(answer["masks"]["scan"]).is_file()
    assert answer["volumes_ml"]["scan"]["bright"] > 0


def test_channels_come_in_order(tmp_path: Path, image: Path) -> None:
    model = exported(tmp_path / "model", channels=2)
    dark = save(tmp_path / "dark.nii.gz", np.full((13, 20, 9), -50.0))
    found = ss.run_model(model, [image, dark, dark, image], tmp_path / "out")
    assert list(found) == ["scan", "dark"]
    assert found["scan"].volumes_ml["bright"] == 0
    assert found["dark"].volumes_ml["bright"] > 0
    with pytest.raises(ConfigError, match=r"2 images a case \(T1, T2\), found 3"):
        ss.run_model(model, [image, dark, dark], tmp_path / "out")
    other = save(tmp_path / "other.nii.gz", np.zeros((13, 20, 10)))
    with pytest.raises(ImageError, match="on one grid"):
        ss.run_model(model, [image, other], tmp_path / "third")


def test_a_mask_replaces_no_file(tmp_path: Path, image: Path) -> None:
    model = exported(tmp_path / "model")
    before = image.read_bytes()
    with pytest.raises(ProjectError, match="expected a new file for a mask"):
        ss.run_model(model, [image], image.parent)
    assert image.read_bytes() == before


def test_a_series_in_dicom_becomes_a_mask(tmp_path: Path) -> None:
    series = write_oblique_series(tmp_path / "series")
    found = ss.run_model(exported(tmp_path / "model"), [series], tmp_path / "out")
    mask = read_labels(found["series"].mask, read_image(series).geometry)
    assert np.mean(mask == 7) > 0.9


def test_what_is_no_whole_model_is_refused(tmp_path: Path, image: Path) -> None:
    with pytest.raises(ProjectError, match=r"expected an exported model"):
        ss.run_model(tmp_path, [image], tmp_path / "out")
    model = exported(tmp_path / "model")
    with pytest.raises(ConfigError, match="twice"):
        ss.run_model(model, [image, image], tmp_path / "out")
    (model / "model.onnx").write_bytes(b"other")
    with pytest.raises(ProjectError, match="found another file"):
        ss.run_model(model, [image], tmp_path / "out")
    values = json.loads((model / "pipeline.json").read_text())
    (model / "pipeline.json").write_text(json.dumps(values | {"format": 2}))
    with pytest.raises(SemisegError, match="format"):
        ss.run_model(model, [image], tmp_path / "out")
