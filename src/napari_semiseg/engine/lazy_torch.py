"""Stand in for PyTorch until it is used, so that methods can be listed without it.

Modules of `engine.methods` import ``torch``, ``nn`` and ``functional`` from here. Their
names, titles, citations and parameters are then readable where PyTorch is absent, and
in napari's process, which never loads it. ``importlib.util.LazyLoader`` would not do:
with the module in `sys.modules` SciPy takes it for loaded, and so loads it.
"""

from __future__ import annotations

import os
from contextlib import redirect_stderr
from importlib import import_module
from io import StringIO
from types import ModuleType
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

from napari_semiseg.errors import EngineMissing

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.nn import functional

__all__ = ["functional", "nn", "require_torch", "torch"]

SPIN = "GOMP_SPINCOUNT", "1000"
"""How long a thread of PyTorch's looks for work before it sleeps, some microseconds.

By default it looks so long that it never sleeps. On a core that another program uses,
each of the thousands of operations of a step then waits for a turn of that program:
with one such core of two a step took up to ten times as long. Sleeping threads get
their turn at once. Where nothing else runs a step takes about a twentieth longer.
"""
PARTS = ("torch.nn.functional", "torch.optim", "torch.backends", "torch.cuda")


def require_torch() -> None:
    """Load PyTorch, with threads that share the cores; see `SPIN`.

    Raises
    ------
    EngineMissing
        It is not installed, or does not load: the line says which.
    """
    os.environ.setdefault(*SPIN)  # read once, when PyTorch is loaded
    try:
        # A build for another NumPy prints a page when it is imported.
        with redirect_stderr(StringIO()), catch_warnings():
            simplefilter("ignore")
            module = import_module("torch")
            _ = module.nn.Module  # a folder of this name has none
            for part in PARTS:
                import_module(part)
            module.zeros(1).numpy()
        if not isinstance(module.__version__, str):
            raise TypeError("no version")
    except MemoryError:
        raise
    except Exception as error:  # what a broken installation raises is anybody's guess
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            raise EngineMissing(
                "training and prediction need PyTorch, which is not installed here; "
                "run: pip install 'napari-semiseg[engine]'"
            ) from error
        found = " ".join(str(error).split()) or type(error).__name__
        raise EngineMissing(
            f"expected PyTorch to load, found '{found}'; install it again: pip install "
            f"--force-reinstall torch"
        ) from error


class _LazyModule(ModuleType):
    """A module whose names are looked up in the real one on their first use."""

    def __getattr__(self, name: str) -> Any:
        require_torch()
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)  # so that the next use costs no more than usual
        return value


if not TYPE_CHECKING:
    torch = _LazyModule("torch")
    nn = _LazyModule("torch.nn")
    functional = _LazyModule("torch.nn.functional")
