"""Write a run's averaged networks, with the method's inference, as one ONNX graph."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from napari_semiseg.engine.api import load_networks
from napari_semiseg.engine.data.augment import FLIP_AXES
from napari_semiseg.engine.inference.own_statistics import (
    batch_norm_layers,
    own_statistics,
)
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.imaging.foreign_scans import is_settled
from napari_semiseg.imaging.sliding_window import mirrored_views

if TYPE_CHECKING:
    from pathlib import Path

    from napari_semiseg.engine.methods.base import Method
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

LARGEST_DIFFERENCE = 1e-3
"""Of a probability, from which on the graph does not compute what the networks do."""


class _Inference(nn.Module):
    """Probabilities (B, C, Z, Y, X) of a method for a window (B, K, Z, Y, X).

    With the share of its own statistics, and how far these are from the known ones,
    where networks have any; see `own_statistics`.
    """

    def __init__(
        self, method: Method, teachers: dict[str, SegmentationNetwork]
    ) -> None:
        super().__init__()
        self._method = method
        self._teachers = teachers
        self.networks = nn.ModuleList(teachers.values())  # whose weights are stored

    def forward(
        self, image: Tensor, own: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        if own is None:
            return self._method.infer(self._teachers, image).probabilities
        with own_statistics(batch_norm_layers(self.networks), own) as apart:
            found = self._method.infer(self._teachers, image)
        return found.probabilities, torch.stack(apart).mean()


def write_onnx(
    project: Project, run: Run, path: Path
) -> tuple[int, list[tuple[int, ...]], bool, float]:
    """Write the model of a run, and compare the file with it.

    Returns
    -------
    step : int
        Of the training.
    flips : list of tuple of int
        See `mirrored_views`.
    adapts : bool
        Whether the graph adapts to a scan: it takes a share and tells a distance, too.
    difference : float
        Largest difference of a probability, for a window of noise.

    Raises
    ------
    SemisegError
        The run has no model, ONNX is not installed, or a layer cannot be written.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - the exporter of PyTorch needs it
    except ImportError as error:
        raise ConfigError(
            f"expected ONNX to export a model, found '{error}'; run: pip install "
            f"'napari-semiseg[onnx]'"
        ) from error
    method, teachers, plan, state = load_networks(project, run, torch.device("cpu"))
    module = _Inference(method, teachers).eval()
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(0)
    shape = (1, len(plan.channels), *plan.patch_zyx)
    given = {"image": torch.randn(shape, generator=generator)}
    answers = ["probabilities"]
    layers = batch_norm_layers(teachers.values())
    if adapts := bool(layers) and is_settled(state.familiar):
        given["own"] = torch.tensor(0.25)
        answers.append("apart")
    with torch.inference_mode():
        answer = module(*given.values())
        expected = (answer[0] if adapts else answer).numpy()
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    try:
        exporter.setLevel(logging.ERROR)
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                tuple(given.values()),
                path,
                dynamo=True,
                external_data=False,
                input_names=list(given),
                output_names=answers,
                verbose=False,
            )
    except Exception as error:  # each of many steps has errors of its own
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file, not the network
        raise ProjectError(
            f"run {run.id!r}: expected a network that ONNX can hold, found "
            f"'{' '.join(str(error).split())[:300]}'; export a run of another "
            f"architecture or method"
        ) from error
    finally:
        exporter.setLevel(level)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    values = {name: value.numpy() for name, value in given.items()}
    found = session.run(answers, values)[0]
    difference = float(np.abs(expected - found).max())
    if difference > LARGEST_DIFFERENCE:
        raise ProjectError(
            f"run {run.id!r}: expected the same probabilities of PyTorch and of ONNX "
            f"Runtime, found them {difference:.2g} apart; install other versions"
        )
    flips = mirrored_views(FLIP_AXES if plan.mirrored else ())
    return state.step, flips, adapts, difference
