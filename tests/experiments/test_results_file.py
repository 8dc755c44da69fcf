"""Files of results as version 0.1 has written them are read, and kept as they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.experiments.benchmark.results import BenchmarkResults
from napari_semiseg.experiments.benchmark.spec import Benchmark
from napari_semiseg.experiments.simulation.results import SimulationResults
from napari_semiseg.experiments.simulation.spec import Simulation

if TYPE_CHECKING:
    from pathlib import Path

METRICS = {
    "dice": 0.9,
    "jaccard": 0.8,
    "hd95_mm": 2.0,
    "assd_mm": 1.0,
    "hd95_voxel": 2.0,
    "asd_voxel": 1.0,
    "volume_ml": 3.0,
    "reference_ml": 3.1,
}
BENCHMARK = {
    "format": 1,
    "config": {
        "data": "/data/Balls",
        "classes": {"ball": 1},
        "labelled": {"two": ["case_0", "case_1"]},
        "unlabelled": ["case_2"],
        "test": ["case_4"],
        "device": "cpu",
        "settings": {"width": "4"},
        "methods": ["supervised", "ug_mcl:passes=4"],
        "budgets": ["3 steps", "2.5 min"],
        "seeds": [0, 1],
    },
    "machine": {
        "python": "3.12.1",
        "platform": "Linux-6.8",
        "processor": "a fast one",
        "cores": 8,
        "memory_gib": 16.0,
    },
    "versions": {"torch": "2.13.0"},
    "runs": [
        {
            "labelled": "two",
            "labels": 2,
            "method": "supervised",
            "budget": "3 steps",
            "minutes": None,
            "seed": 0,
            "run": "supervised_3steps_seed0",
            "status": "completed",
            "error": None,
            "device": "cpu",
            "steps": 3,
            "seconds": 30.0,
            "predict_seconds": 1.5,
            "score_seconds": 0.5,
            "peak_memory_mb": 321.0,
            "peak_gpu_mb": None,
            "parameters": 1000,
            "gradient_ratio": None,
            "notes": [],
            "cases": {"case_4": {"ball": METRICS}},
        }
    ],
}
SIMULATION = {
    "format": 1,
    "config": {
        "project": "/data/atrium",
        "masks": "/data/references",
        "cases": ["case_0", "case_1"],
        "test": ["case_4"],
        "slices_per_round": "5%",
        "plane": None,
        "method": None,
        "minutes": None,
        "steps": 3,
        "device": "auto",
        "settings": {},
        "strategies": ["mix", "whole:100%"],
        "seeds": [0],
        "rounds": 2,
    },
    "trials": [
        {
            "strategy": "mix",
            "seed": 0,
            "rounds": [
                {
                    "round": 1,
                    "asked": [
                        {"case": "case_0", "axis": 0, "index": 11, "reason": "central"}
                    ],
                    "topped_up": 0,
                    "slices": 1,
                    "strokes": 2,
                    "voxels_changed": 80,
                    "annotated_fraction": 0.02,
                    "run": "round-01",
                    "steps": 3,
                    "seconds": 30.0,
                    "cases": {"case_4": {"ball": METRICS}},
                    "dice_per_class": {"ball": 0.9},
                    "dice": 0.9,
                }
            ],
            "exhausted": False,
            "error": None,
        }
    ],
}
KINDS = [(BenchmarkResults, Benchmark, BENCHMARK)]
KINDS += [(SimulationResults, Simulation, SIMULATION)]


def write(folder: Path, kind: type, content: dict) -> Path:
    folder.mkdir()
    path = folder / kind.FILE
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(("kind", "spec", "content"), KINDS)
def test_a_file_is_read_and_written_as_it_was(tmp_path, kind, spec, content) -> None:
    path = write(tmp_path / "out", kind, content)
    results = kind.open(tmp_path / "out", spec(**content["config"]))
    results.write(tmp_path / "out")
    assert json.loads(path.read_text(encoding="utf-8")) == content


def test_what_is_asked_for_later_is_added(tmp_path) -> None:
    write(tmp_path / "out", SimulationResults, SIMULATION)
    asked = SIMULATION["config"] | {"strategies": ("gap",), "seeds": (2,), "rounds": 1}
    config = SimulationResults.open(tmp_path / "out", Simulation(**asked)).config
    assert config.strategies == ("mix", "whole:100%", "gap")
    assert (config.seeds, config.rounds) == ((0, 2), 2)
    with pytest.raises(ConfigError, match="same steps"):
        SimulationResults.open(tmp_path / "out", Simulation(**asked | {"steps": 4}))


def test_a_file_of_something_else_is_refused(tmp_path) -> None:
    path = write(tmp_path / "out", BenchmarkResults, SIMULATION)
    with pytest.raises(ProjectError, match=str(path)):
        BenchmarkResults.open(tmp_path / "out", Benchmark(**BENCHMARK["config"]))
