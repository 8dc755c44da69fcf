"""Promises about the code base as a whole."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

import napari_semiseg
from check_wheel import problems

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "napari_semiseg"
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_MODULES = 18
"""In a room, methods aside: about 15 that belong together."""
TWICE = {"Layout"}
"""Names that two modules have promised: `Project.layout` and `export_model(layout)`."""
PRIVATE_WORDS = {
    *(
        "begun",
        "bounds",
        "continuing",
        "encoded",
        "evidence",
        "heed",
        "heeds",
        "intake",
    ),
    *(
        "lend",
        "lent",
        "marking",
        "mine",
        "ours",
        "pace",
        "ripe",
        "said",
        "sheet",
        "sight",
    ),
    *("survey", "sweep", "theirs", "told", "vouched", "wanted", "warm", "whereabouts"),
    "wishes",
}
"""Words of the project's own that no name has, as the field has a word for each."""
PRIVATE_NAMES = {"ahead", "free", "fresh", "newer", "solid"}
"""Words that are plain beside another one, as in ``free_memory``, but not alone."""
TERMS = ("shortcut_sheet", "warm_start", "warm_up")


def test_layers_hold() -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    found = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_room_holds_few_modules_and_says_what_belongs_there() -> None:
    rooms = {path.parent for path in MODULES} - {PACKAGE / "engine" / "methods"}
    for room in rooms:
        first, *_ = (room / "__init__.py").read_text(encoding="utf-8").splitlines()
        assert first.startswith('"""'), room
        assert len(list(room.glob("*.py"))) - 1 <= MOST_MODULES, room


def test_a_public_class_or_type_has_a_name_of_its_own() -> None:
    declared = defaultdict(set)
    for path in MODULES:
        for name in _types(ast.parse(path.read_text(encoding="utf-8"))):
            declared[name].add(path.relative_to(PACKAGE).as_posix())
    assert len(declared) > 100  # so that it looks where they are
    twice = {name: sorted(paths) for name, paths in declared.items() if len(paths) > 1}
    assert twice.keys() == TWICE, twice


def _types(module: ast.Module) -> list[str]:
    """Names of the public classes and type aliases that a module declares."""
    names = [node.name for node in module.body if isinstance(node, ast.ClassDef)]
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        aliases = [target.id for target in targets if isinstance(target, ast.Name)]
        names += [name for name in aliases if not name.isupper() and name[0].isupper()]
    return [name for name in names if not name.startswith("_")]


def test_names_are_words_of_the_field() -> None:
    found = defaultdict(set)
    for path in MODULES:
        module = ast.parse(path.read_text(encoding="utf-8"))
        for name in {path.stem, *_declared_names(module)}:
            if _is_private_word(name):
                found[path.relative_to(PACKAGE).as_posix()].add(name)
    assert found == {}


@pytest.mark.parametrize(
    ("name", "private"),
    [
        ("said", True),
        ("_wanted_width", True),
        ("StoppedSurvey", True),
        ("PACE_S", True),
        ("free", True),
        ("free_memory", False),
        ("ShortcutSheet", False),
        ("is_warm_started", False),
        ("determined", False),
        ("unsaid", False),
    ],
)
def test_a_private_word_is_found_as_a_whole_part_of_a_name(name, private) -> None:
    assert _is_private_word(name) is private


def _declared_names(module: ast.Module) -> Iterator[str]:
    """Names of functions, classes, parameters, variables and attributes."""
    for node in ast.walk(module):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name


def _is_private_word(name: str) -> bool:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().strip("_")
    for term in TERMS:
        words = words.replace(term, "")
    return words in PRIVATE_NAMES or not PRIVATE_WORDS.isdisjoint(words.split("_"))


def test_there_is_no_circle_of_imports() -> None:
    graph = grimp.build_graph("napari_semiseg", cache_dir=None)
    imports = {
        name: graph.find_modules_directly_imported_by(name) for name in graph.modules
    }
    assert any(imports.values())
    TopologicalSorter(imports).prepare()  # names the circle it finds


def test_importing_the_package_and_the_plugin_is_light() -> None:
    code = (
        "import sys, napari_semiseg as ss, napari_semiseg._reader;"
        "ss.Project; ss.TrainingConfig; ss.suggest;"
        "heavy = ['torch', 'qtpy', 'PyQt6', 'nibabel', 'SimpleITK', 'skimage',"
        " 'nilearn', 'matplotlib', 'napari._qt'];"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "[]", found.stdout + found.stderr


def test_the_version_is_said_once() -> None:
    from importlib.metadata import version

    assert napari_semiseg.__version__ == version("napari-semiseg")


def test_the_wheel_is_complete(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    built = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path)))
    assert problems(Path(built)) == []


def test_types_and_manifest_are_in_the_package() -> None:
    assert (PACKAGE / "py.typed").is_file()
    manifest = PACKAGE / "napari.yaml"
    assert manifest.is_file()
    # Where users of a repository look for it; the package needs its own.
    assert (ROOT / "napari.yaml").read_text() == manifest.read_text()
