"""A data set of bright balls in nnU-Net's layout, and benchmarks on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_semiseg.experiments.benchmark.dataset import RawDataset
from napari_semiseg.experiments.benchmark.runner import BenchmarkRunner
from napari_semiseg.experiments.benchmark.spec import Benchmark
from synthetic import ball, save_nifti

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fake_workers import FakeWorkers


IDS = tuple(f"case_{number}" for number in range(7))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Seven images of 24^3 voxels with their masks, and ``dataset.json``."""
    folder = tmp_path / "Balls"
    for number, name in enumerate(IDS):
        mask = ball(number)
        noise = np.random.default_rng(number).normal(0, 10, mask.shape)
        image = (100 * mask + noise).astype(np.int16)
        save_nifti(folder / "imagesTr" / f"{name}.nii.gz", image)
        save_nifti(folder / "labelsTr" / f"{name}.nii.gz", mask)
    described = {"labels": {"background": 0, "ball": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


@pytest.fixture
def two_channels(data: Path) -> Path:
    """The same with a second channel of every image."""
    for name in IDS:
        plain = data / "imagesTr" / f"{name}.nii.gz"
        save_nifti(plain.with_name(f"{name}_0001.nii.gz"), 50 - ball(int(name[-1])))
        plain.rename(plain.with_name(f"{name}_0000.nii.gz"))
    return data


@pytest.fixture
def make_bench(
    data: Path, tmp_path: Path, workers: FakeWorkers
) -> Callable[..., BenchmarkRunner]:
    """Make a benchmark of two methods; every part of it may be another one."""

    def make(methods: str = "supervised,ug_mcl", **changes: Any) -> BenchmarkRunner:
        values: dict[str, Any] = {
            "data": data,
            "labelled": {"two": IDS[:2]},
            "unlabelled": IDS[:4],
            "test": IDS[4:],
            "methods": tuple(methods.split(",")),
            "budgets": ("3 steps",),
        }
        dataset = RawDataset.open(data)
        scheme = dataset.scheme((), ())
        classes = {item.name: item.value for item in scheme}
        benchmark = Benchmark(**values | changes, classes=classes)
        return BenchmarkRunner(tmp_path / "out", workers, benchmark, dataset, scheme)

    return make
