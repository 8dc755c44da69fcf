"""Stand in for PyTorch until it is used, so that methods can be listed without it.

Modules of `engine.methods` import ``torch``, ``nn`` and ``functional`` from here. Their
names, titles, citations and parameters are then readable where PyTorch is absent, and
in napari's process, which never loads it. ``importlib.util.LazyLoader`` would not do:
with the module in `sys.modules` SciPy takes it for loaded, and so loads it.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from napari_semiseg.errors import EngineMissing

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.nn import functional

__all__ = ["functional", "missing", "nn", "torch"]


def missing() -> EngineMissing:
    """Make the error for a machine without PyTorch."""
    return EngineMissing(
        "training and prediction need PyTorch, which is not installed here; run: "
        "pip install 'napari-semiseg[engine]'"
    )


class _LazyModule(ModuleType):
    """A module whose names are looked up in the real one on their first use."""

    def __getattr__(self, name: str) -> Any:
        try:
            value = getattr(import_module(self.__name__), name)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise missing() from error
        setattr(self, name, value)  # so that the next use costs no more than usual
        return value


if not TYPE_CHECKING:
    torch = _LazyModule("torch")
    nn = _LazyModule("torch.nn")
    functional = _LazyModule("torch.nn.functional")
