"""Make the pictures of the documentation from the running product.

    semiseg demo demo-folder --no-gui
    python resources/make_screenshots.py demo-folder

Without a display put `xvfb-run -a -s "-screen 0 1600x1000x24"` before it. The pictures
show the panel on the demo's project as it is; nothing in them is drawn by hand.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import napari
from napari.settings import get_settings
from qtpy.QtTest import QTest

from napari_semiseg.commands import open_project_in_viewer

HERE = Path(__file__).parent
SIZE = (1600, 900)
SETTLE_MS = 2500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a project, or of `semiseg demo`")
    parser.add_argument("--case", default="", help="the most doubtful one by default")
    parser.add_argument("--out", type=Path, default=HERE)
    asked = parser.parse_args()

    get_settings().appearance.theme = "dark"
    viewer = napari.Viewer(title="napari")
    window = viewer.window._qt_window
    window.setGeometry(0, 0, *SIZE)
    inner = asked.folder / "project"
    folder = inner if inner.is_dir() else asked.folder
    panel = open_project_in_viewer(folder, viewer)
    QTest.qWait(SETTLE_MS)

    panel.show_tab("Train")
    QTest.qWait(SETTLE_MS)
    save(panel, asked.out / "train.png")

    proposed = panel.session.project.cases(state="proposed")
    run = panel.session.project.latest_run()
    case = asked.case or max(
        (case.id for case in proposed),
        key=lambda name: run.prediction_record(name).score.uncertainty,
    )
    panel.session.case_requested.emit(case)
    QTest.qWait(2 * SETTLE_MS)
    save(window, asked.out / "panel.png")

    viewer.close()


def save(widget, target: Path) -> None:
    if not widget.grab().save(str(target)):
        raise SystemExit(f"could not write {target}")
    print(target)


if __name__ == "__main__":
    main()
