"""What a project costs by the number of its cases, without a window and in the panel.

    python benchmarks/cohort_size.py [--no-panel] [--large] [--cases N ...]

``--large`` measures verbs on 2,000 and 10,000 cases with 500 runs instead, and a run
with a log of 51 MB; ``--cases`` what a cohort of so many cases costs: files, verbs, the
look for changed labels while a training runs. Every case has a mask or a prediction.
Times are those of this machine; what counts is how they and the memory grow from row to
row.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
import psutil
from pairs import machine, timed

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.events import Finished, Started, Stepped
from napari_semiseg.core.prediction import (
    CaseScore,
    Prediction,
    PredictionRecord,
    SliceScore,
)
from napari_semiseg.project.cases.label_changes import LabelWatcher
from napari_semiseg.project.layout import RunFolder
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
            copy = source.with_name(f"case{number:04d}")
            shutil.copytree(source, copy, copy_function=link)
        record = project.layout.case(f"case{number:04d}").json
        values = json.loads(record.read_text()) | {"id": f"case{number:04d}"}
        record.unlink()  # the others are one file under many names
        record.write_text(json.dumps(values))
    return project.folder


def link(source: str, target: str) -> None:
    """Give a file one more name; some file systems allow 65,000."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


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
        dock.cohort.search.setText(text)
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


def add_runs(folder: Path, count: int, log_mb: float = 0.0) -> None:
    """Add copies of the first run without its predictions, each with a log."""
    first = Project.open(folder).runs()[0]
    for number in range(count):
        run = Run(RunFolder(first.folder.path.with_name(f"run{number:04d}")))
        ignore = shutil.ignore_patterns("predictions")
        shutil.copytree(first.folder.path, run.folder.path, ignore=ignore)
        run.append(Started(run=run.id, method="supervised", pid=1))
        for step in range(200):
            run.append(stepped(step))
        run.append(Finished(run=run.id, reason="completed", step=200, seconds=9.0))
    if log_mb:
        line = stepped(200).to_line().encode() + b"\n"
        with first.folder.events.open("ab") as log:
            log.write(line * int(log_mb * 1e6 / len(line)))


def stepped(step: int) -> Stepped:
    return Stepped(
        step=step,
        steps=200,
        losses={"supervised": 0.5, "consistency": 0.25},
        learning_rate=0.1,
        seconds=step / 10,
        seconds_left=1.0,
    )


def verb(*words: object) -> tuple[float, float, float]:
    """Seconds and processor seconds of a verb in a process of its own, and peak MB."""
    begun = time.perf_counter()
    process = psutil.Popen(
        [sys.executable, "-m", "napari_semiseg", *map(str, words)],
        stdout=subprocess.DEVNULL,
    )
    _, code, used = os.wait4(process.pid, 0)
    assert code == 0, words
    seconds = time.perf_counter() - begun
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def large() -> None:
    """Verbs by the number of cases, with 500 runs."""
    for cases in (2_000, 10_000):
        with tempfile.TemporaryDirectory() as parent:
            folder = make(Path(parent) / "files", cases)
            add_runs(folder, 500)
            row: dict[str, object] = {"what": f"{cases} cases, 501 runs"}
            for words in (("status", "--json"), ("suggest",)):
                seconds, busy, peak = verb(words[0], folder, *words[1:])
                row[words[0]] = [round(seconds, 1), round(busy, 1), round(peak)]
            if cases == 2_000:
                out = Path(parent) / "out"
                seconds, busy, peak = verb("export", folder, out, "--what", "best")
                row["export"] = [round(seconds, 1), round(busy, 1), round(peak)]
                add_runs(folder, 0, log_mb=51)
                seconds, busy, peak = verb("status", folder, "--json")
                row["status_51_mb"] = [round(seconds, 1), round(busy, 1), round(peak)]
            print(json.dumps(row | machine()), flush=True)


def cohort(cases: int) -> dict[str, object]:
    """What the folder of a cohort holds, and what verbs and a training ask of it."""
    with tempfile.TemporaryDirectory() as parent:
        folder = make(Path(parent) / "files", cases)
        row: dict[str, object] = {"what": f"{cases} cases"}
        sizes = [
            os.stat(f"{at}/{name}", follow_symlinks=False).st_size
            for at, _, names in os.walk(folder)
            for name in names
        ]
        row["files"], row["kb_a_case"] = len(sizes), round(sum(sizes) / 1e3 / cases, 1)
        watcher = LabelWatcher(Project.open(folder).layout)
        watcher.changed()
        begun, busy = time.perf_counter(), time.process_time()
        assert watcher.changed() == []
        row["label_look_s"] = [
            round(time.perf_counter() - begun, 2),
            round(time.process_time() - busy, 2),
        ]
        for words in (("status", "--json"), ("suggest",)):
            seconds, busy, peak = verb(words[0], folder, *words[1:])
            row[words[0]] = [round(seconds, 1), round(busy, 1), round(peak)]
    return row | machine()


def main() -> None:
    if "--cases" in sys.argv:
        for count in sys.argv[sys.argv.index("--cases") + 1 :]:
            print(json.dumps(cohort(int(count))), flush=True)
        return
    if "--large" in sys.argv:
        large()
        return
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
