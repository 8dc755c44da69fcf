"""What a project costs by the number of its cases, without a window and in the panel.

    python benchmarks/cohort_size.py [--no-panel]

Every case has a mask or a prediction. Times are those of this machine; what counts is
how they and the memory grow from row to row.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
import psutil
from pairs import machine, timed

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.prediction import (
    CaseScore,
    Prediction,
    PredictionRecord,
    SliceScore,
)
from napari_semiseg.project.project import Project
from napari_semiseg.project.runs.run import Run

SIZES = (10, 100, 1_000)
SHAPE = (24, 24, 24)


def make(folder: Path, cases: int, shape: tuple[int, int, int] = SHAPE) -> Path:
    """A project whose cases are copies of two: one labelled, one predicted."""
    image = folder / "scan.nii.gz"
    image.parent.mkdir(parents=True)
    voxels = np.random.default_rng(0).normal(0, 100, shape).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), image)
    other = folder / "other.nii.gz"
    shutil.copy(image, other)
    project = Project.create(folder / "project", {"ball": 1})
    project.add(image, other)
    mask = np.zeros(shape, np.uint8)
    mask[8:16, 8:16, 8:16] = 1
    project.set_label("scan", mask)
    run = Run.create(project, TrainingConfig(steps=1))
    case = project.case("other")
    score = SliceScore(axis=0, index=12, score=0.3, reason="boundary uncertain")
    run.write_prediction(
        Prediction(
            record=PredictionRecord(
                case="other",
                run=run.id,
                step=1,
                method="supervised",
                image_sha256=case.record.sha256,
                uncertainty_kind="entropy",
                score=CaseScore(
                    uncertainty=0.3,
                    entropy=0.3,
                    gap=0.1,
                    volumes_ml={"ball": 0.5},
                    slices=(score,) * 24,
                ),
            ),
            geometry=case.geometry,
            labels=mask,
            sdm_mm=np.ones((1, *shape), np.float32),
            uncertainty=np.full(shape, 0.3, np.float32),
        ),
        case.image,
    )
    sources = {
        "scan": [project.layout.case("scan").path],
        "other": [
            project.layout.case("other").path,
            run.folder.prediction("other").path,
        ],
    }
    for number in range(cases - 2):
        name = "other" if number % 3 else "scan"
        for source in sources[name]:
            shutil.copytree(source, source.with_name(f"case{number:04d}"))
        record = project.layout.case(f"case{number:04d}").json
        values = json.loads(record.read_text()) | {"id": f"case{number:04d}"}
        record.write_text(json.dumps(values))
    return project.folder


def panel(folder: Path) -> dict[str, float]:
    """Seconds to open a project in the panel, and of the slowest key of a filter."""
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_semiseg.widgets.dock import SemisegDock

    viewer = napari.Viewer(show=False)
    dock = SemisegDock(viewer)
    viewer.window.add_dock_widget(dock, name="Semiseg")
    viewer.window._qt_window.show()
    application = QApplication.instance()

    def key(text: str) -> None:
        dock.cohort.filter.setText(text)
        application.processEvents()

    def opened() -> None:
        dock.open_project(folder)
        application.processEvents()

    first = timed(opened)
    keys = [
        timed(lambda text=text: key(text)) for text in ("c", "ca", "case01", "", "l")
    ]
    seen = dock.cohort.table.proxy.rowCount()
    refresh = timed(lambda: (dock.session.runs_changed.emit(), opened))
    time.sleep(0.5)  # the check of the images goes on in a thread
    application.processEvents()
    viewer.close()
    return {
        "panel_opens_s": round(first, 3),
        "slowest_filter_key_s": round(max(keys), 3),
        "panel_refreshes_s": round(refresh, 3),
        "rows_filtered": seen,
    }


def main() -> None:
    with_panel = "--no-panel" not in sys.argv
    for cases in SIZES:
        with tempfile.TemporaryDirectory() as parent:
            folder = make(Path(parent) / "files", cases)
            before = psutil.Process().memory_info().rss
            project = Project.open(folder)
            first = timed(project.cases)
            again = timed(project.cases)
            grown = psutil.Process().memory_info().rss - before
            row = {
                "what": f"project of {cases} cases",
                "first_read_s": round(first, 3),
                "read_again_s": round(again, 3),
                "kb_a_case": round(grown / 1e3 / cases, 1),
            }
            if with_panel:
                row |= panel(folder)
            print(json.dumps(row | machine()), flush=True)


if __name__ == "__main__":
    main()
