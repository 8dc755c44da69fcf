"""Installations of PyTorch that are broken in all ways: one line each, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

DRIVER = """
import sys
from napari_semiseg.cli import main
for words in (["doctor", "--json"], *(line.split("|") for line in sys.argv[1:])):
    sys.argv = ["semiseg", *words]
    try:
        main()
    except SystemExit as ending:
        print(f"{words[0]} ended with {ending.code}", file=sys.stderr)
"""
WHOLE = """
import types
__version__ = "2.9"
class Tensor:
    def numpy(self): {numpy}
def zeros(*size): return Tensor()
"""
PARTS = ("nn/__init__", "nn/functional", "optim", "backends", "cuda")

BROKEN = {
    "ImportError": 'raise ImportError("libtorch_cpu.so: undefined symbol: iJIT")',
    "another module": "import a_module_that_it_needs",
    "OSError": 'raise OSError("[WinError 126] Error loading c10.dll")',
    "AttributeError": 'raise AttributeError("_ARRAY_API not found")',
    "RuntimeError": 'raise RuntimeError("two lines\\nof an error")',
    "ValueError": 'raise ValueError("numpy.dtype size changed")',
    "SystemError": 'raise SystemError("initialization of _C failed")',
    "SyntaxError": "def broken(:",
    "a part of it": "from torch._C import *",
    "zeros": "\0\0\0",
    "nothing in it": "",
    "no submodules": WHOLE.format(numpy="return 0"),
    "NumPy of another build": WHOLE.format(
        numpy='raise RuntimeError("Numpy is not available")'
    ),
    "no version": WHOLE.format(numpy="return 0") + "__version__ = None",
}


def install(folder: Path, kind: str) -> None:
    """Write a package named torch that is broken."""
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(BROKEN[kind])
    if kind in ("NumPy of another build", "no version"):
        for part in PARTS:
            path = folder / f"{part}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text("")


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_pytorch_is_told_in_one_line(ball_project, tmp_path, kind) -> None:
    install(tmp_path / "packages" / "torch", kind)
    verbs = (
        f"train|{ball_project.folder}|--steps|1",
        f"predict|{ball_project.folder}",
        "methods",
    )
    paths = (str(tmp_path / "packages"), *sys.path)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *verbs],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"},
    )
    assert "Traceback" not in done.stderr, done.stderr
    first, train, trained, *rest = done.stderr.strip().split("\n")
    assert first == "doctor ended with 0"
    assert train.startswith("semiseg: expected PyTorch to load, found")
    assert "install it again" in train
    assert trained == "train ended with 1"
    assert rest[-1] == "methods ended with 0"
    report, _ = json.JSONDecoder().raw_decode(done.stdout)
    (check,) = (item for item in report["checks"] if item["name"] == "torch")
    assert not check["ok"]
    assert "expected PyTorch to load" in check["found"]
    assert "install it again" in check["fix"]
    assert report["devices"] == []
    assert ball_project.runs() == []
