"""Training and prediction: the only part of the package that imports PyTorch.

Importing it loads neither PyTorch nor its own modules; a name loads what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_semiseg.engine.lazy_torch import require_torch

if TYPE_CHECKING:
    from napari_semiseg.engine.api import predict, predict_cases, resume, train
    from napari_semiseg.engine.devices import DeviceInfo, describe_devices
    from napari_semiseg.engine.distributed import join
    from napari_semiseg.engine.methods.registry import MethodSpec, method_specs
    from napari_semiseg.engine.onnx_network import write_onnx
    from napari_semiseg.engine.tasks import predict_case
    from napari_semiseg.engine.torchrun import (
        check_batches,
        count_devices,
        launch,
    )

__all__ = [
    "DeviceInfo",
    "MethodSpec",
    "check_batches",
    "count_devices",
    "describe_devices",
    "join",
    "launch",
    "method_specs",
    "predict",
    "predict_case",
    "predict_cases",
    "resume",
    "train",
    "write_onnx",
]

_HOMES = {
    "DeviceInfo": "devices",
    "MethodSpec": "methods.registry",
    "check_batches": "torchrun",
    "count_devices": "torchrun",
    "describe_devices": "devices",
    "join": "distributed",
    "launch": "torchrun",
    "method_specs": "methods.registry",
    "predict": "api",
    "predict_case": "tasks",
    "predict_cases": "api",
    "resume": "api",
    "train": "api",
    "write_onnx": "onnx_network",
}
_WITHOUT_TORCH = ("MethodSpec", "method_specs")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _WITHOUT_TORCH:
        require_torch()
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
