from __future__ import annotations

import gc
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from synthetic import prediction_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.common.session import Session
    from napari_semiseg.widgets.review.panel import ReviewPanel

pytest.register_assert_rewrite("widgets.mask_stages", "widgets.person")

SHAPE = (10, 12, 14)
DEVICES = (
    '{"checks": [], "devices": '
    '[{"name": "cpu", "title": "CPU, 2 cores", "memory_gb": 15.6}]}'
)
"""What ``semiseg doctor --json`` prints."""


@pytest.fixture(scope="session", autouse=True)
def manifests() -> Iterator[None]:
    """Parse each plugin's manifest once; napari looks for plugins in every test."""
    from npe2 import PluginManifest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "from_file", cache(PluginManifest.from_file))
        yield


@pytest.fixture(scope="session", autouse=True)
def kept_modules(manifests: None) -> Iterator[None]:
    """Let garbage be looked for among what tests make, not among all that is loaded.

    napari collects garbage several times in each test that has a viewer.
    """
    import napari_semiseg.widgets.dock  # noqa: F401

    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never read or write the settings of whoever runs the tests."""
    from napari import settings
    from qtpy.QtCore import QSettings

    if hasattr(settings, "_PLUGIN_SETTINGS"):  # since napari 0.9
        monkeypatch.setattr(settings, "_PLUGIN_SETTINGS", {})
        monkeypatch.setattr(settings, "_CFG_PATH", str(tmp_path / "napari.yaml"))

    QSettings.setPath(
        QSettings.Format.IniFormat,
        QSettings.Scope.UserScope,
        str(tmp_path / "settings"),
    )


@pytest.fixture(autouse=True)
def fake_engine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that answers as ``semiseg doctor --json`` does.

    Tests that are marked ``engine`` have the real one.
    """
    if request.node.get_closest_marker("engine") is not None:
        return
    from napari_semiseg.widgets.train import devices, panel

    script = tmp_path / "engine.py"
    script.write_text(f"print({DEVICES!r})\n", encoding="utf-8")
    monkeypatch.setattr(devices, "COMMAND", (sys.executable, str(script)))
    monkeypatch.setattr(panel, "has_torch", lambda: True)


def write_volume(path: Path, data: np.ndarray) -> Path:
    """Store (z, y, x) data as NIfTI with 1 x 1 x 2 mm voxels."""
    import nibabel as nib

    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    nib.save(nib.Nifti1Image(np.ascontiguousarray(data.T), affine), path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Four small images of noise, each with a bright block."""
    made = []
    for number in range(4):
        data = np.random.default_rng(number).normal(100, 10, SHAPE)
        data[3:7, 4:9, 4 : 8 + number] += 80
        name = f"case_{number}.nii.gz"
        made.append(write_volume(tmp_path / "images" / name, data.astype(np.int16)))
    return made


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Masks of the first two images, in a folder."""
    for number in range(2):
        data = np.zeros(SHAPE, np.uint8)
        data[3:7, 4:9, 4 : 8 + number] = 1
        write_volume(tmp_path / "masks" / f"case_{number}.nii.gz", data)
    return tmp_path / "masks"


@pytest.fixture
def project(tmp_path: Path, images: list[Path]) -> Project:
    """Four unlabelled cases and one class."""
    from napari_semiseg.project.project import Project

    made = Project.create(tmp_path / "atrium", {"left atrium": 1})
    made.add(*images)
    return made


@pytest.fixture
def session(qapp: object, project: Project) -> Iterator[Session]:
    """A session with the project open."""
    from napari_semiseg.widgets.common.session import Session

    made = Session()
    made.open_project(project.folder)
    yield made
    made.close_project()


@pytest.fixture
def said(session: Session) -> list[str]:
    """What the status line and the toasts say, as it comes."""
    texts: list[str] = []
    session.status_changed.connect(texts.append)
    session.offered.connect(lambda text, *_: texts.append(text))
    return texts


@pytest.fixture
def notifications() -> Iterator[list[str]]:
    """Texts that napari showed to the user."""
    from napari.utils.notifications import notification_manager

    seen: list[str] = []

    def keep(event: object) -> None:
        seen.append(str(event.message))  # type: ignore[attr-defined]

    notification_manager.notification_ready.connect(keep)
    yield seen
    notification_manager.notification_ready.disconnect(keep)


@pytest.fixture
def predict(project: Project) -> Callable[[str, float], None]:
    """Store an empty prediction with the given uncertainty in a finished run."""
    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.events import Finished, Started
    from napari_semiseg.project.runs.run import Run

    run = Run.create(project, TrainingConfig(minutes=1))
    run.append(Started(run=run.id, method="ug_mcl", pid=1))
    run.append(Finished(run=run.id, reason="completed", step=5, seconds=60))

    def store(case_id: str, uncertainty: float) -> None:
        case = project.case(case_id)
        labels = np.zeros(case.geometry.shape_zyx, np.uint8)
        prediction = prediction_of(
            run, case, labels, doubt=uncertainty, uncertainty=uncertainty
        )
        run.write_prediction(prediction, case.image)

    return store


@pytest.fixture
def view(
    make_napari_viewer: Callable[..., Any], session: Session, qtbot: QtBot
) -> Iterator[CaseView]:
    """Cases of the project in a viewer; nobody has to answer a question.

    Its window is too narrow for maps beside the image, whose canvases take as long to
    make as all else.
    """
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.elements.connections import Connections
    from widgets.viewing import Answers

    made = CaseView(session, make_napari_viewer(), Answers())
    yield made
    Connections.close_below(made)


@pytest.fixture
def panel(qtbot: QtBot, session: Session, view: CaseView) -> Iterator[ReviewPanel]:
    """The Review tab of that viewer, narrow."""
    from napari_semiseg.widgets.elements.connections import Connections
    from napari_semiseg.widgets.review.actions import review_actions
    from napari_semiseg.widgets.review.panel import ReviewPanel

    made = ReviewPanel(session, view, review_actions())
    made.resize(360, 800)
    made.show()
    yield made
    Connections.close_below(made)
    made.close()
    made.deleteLater()


@pytest.fixture
def window(make_napari_viewer: Callable[..., Any], qtbot: QtBot) -> Iterator[None]:
    """A napari window, which Qt has the time to delete afterwards."""
    make_napari_viewer(show=True)
    yield
    import napari

    from widgets.person import PATIENCE

    viewer = napari.current_viewer()
    assert viewer is not None
    viewer.close()
    del viewer
    qtbot.wait(round(300 * PATIENCE))
    gc.collect()


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set aside what tests of the engine imported into this process before."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "torch":
            monkeypatch.delitem(sys.modules, name)
