"""Training and prediction: the only part of the package that imports PyTorch."""

from __future__ import annotations

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:  # pragma: no cover - the no-torch environment
    from napari_semiseg.errors import EngineMissing

    raise EngineMissing(
        "training and prediction need PyTorch, which is not installed here; run: "
        "pip install 'napari-semiseg[engine]'"
    ) from error

from napari_semiseg.engine.api import (
    MethodInfo,
    list_methods,
    predict,
    predict_cases,
    resume,
    train,
)
from napari_semiseg.engine.devices import DeviceInfo, describe_devices

__all__ = [
    "DeviceInfo",
    "MethodInfo",
    "describe_devices",
    "list_methods",
    "predict",
    "predict_cases",
    "resume",
    "train",
]
