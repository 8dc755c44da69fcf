from __future__ import annotations

import subprocess
import sys

import pytest

import napari_semiseg as ss


def test_every_public_name_is_there() -> None:
    for name in ss.__all__:
        if name in ("train", "resume"):
            continue
        assert getattr(ss, name) is not None
    assert set(ss.__all__) <= set(dir(ss))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ss.nonsense


def test_importing_it_loads_neither_torch_nor_qt_nor_nibabel() -> None:
    code = (
        "import sys, napari_semiseg as ss; light = set(sys.modules);"
        "ss.Project; ss.TrainingConfig; ss.suggest; ss.evaluate; ss.events.Started;"
        "heavy = ('torch', 'qtpy', 'PyQt6', 'napari', 'nibabel', 'SimpleITK');"
        "assert 'numpy' not in light and 'pydantic' not in light;"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "[]", found.stdout + found.stderr


def test_a_submodule_never_hides_a_function() -> None:
    code = (
        "import napari_semiseg.active_learning.suggest,"
        " napari_semiseg.project.review.evaluate,"
        " napari_semiseg.project.exporting.export; import napari_semiseg as ss;"
        "print(callable(ss.suggest), callable(ss.evaluate), callable(ss.export))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "True True True", found.stderr


def test_without_torch_the_engine_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import napari_semiseg as ss\n"
        "try:\n    ss.train\n"
        "except ss.EngineMissing as error:\n    print(error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "pip install 'napari-semiseg[engine]'" in found.stdout, found.stderr


def test_predict_finds_the_project_of_the_run(ball_project, monkeypatch) -> None:
    from types import ModuleType

    engine = ModuleType("napari_semiseg.engine")
    engine.predict = lambda *given: given  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "napari_semiseg.engine", engine)
    run = ss.Run.create(ball_project, ss.TrainingConfig())
    case = ball_project.case("case_3")
    project, given_run, given_case = ss.predict(run, case)
    assert project.folder == ball_project.folder
    assert (given_run, given_case) == (run, case)
