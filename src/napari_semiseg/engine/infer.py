"""Sliding-window inference in bounded memory, and back onto the case's grid."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from napari_semiseg.core.prediction import Prediction, PredictionRecord
from napari_semiseg.engine.augment import FLIP_AXES
from napari_semiseg.engine.devices import autocast
from napari_semiseg.engine.ops import entropy
from napari_semiseg.engine.prepare import working_image
from napari_semiseg.engine.resample import slabs, working_shape
from napari_semiseg.engine.scores import score_case

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from napari_semiseg.core.config import Plan
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.engine.method import Inference, Method
    from napari_semiseg.project.cases import Case

STEP = 0.5
"""Distance of windows over their size, as in nnU-Net."""
UNCERTAINTY = {
    "entropy": "entropy of the average over mirrored views",
    "gap": "gap between mask and signed distance",
}


@dataclass(frozen=True)
class Maps:
    """Everything a model says of a volume, on the working grid, float32.

    Attributes
    ----------
    probabilities : Tensor (C, Z, Y, X)
    distance : Tensor (C, Z, Y, X)
        Over the plan's limit, negative inside.
    gap : Tensor (1, Z, Y, X)
        Disagreement of segmentation and distance, in [0, 1].
    """

    probabilities: Tensor
    distance: Tensor
    gap: Tensor

    @cached_property
    def entropy(self) -> Tensor:
        """Entropy over ln C: (1, Z, Y, X), in [0, 1]."""
        return entropy(self.probabilities.unsqueeze(0))[0]


class Predictor:
    """Averaged networks of a run, ready to predict.

    Parameters
    ----------
    method : Method
        Says how the networks predict.
    teachers : dict of Module
        Averaged networks, on ``device``.
    plan : Plan
        Working grid and patch.
    """

    def __init__(
        self,
        method: Method,
        teachers: dict[str, nn.Module],
        plan: Plan,
        device: torch.device,
    ) -> None:
        self._method = method
        self._teachers = teachers
        self._plan = plan
        self._device = device
        for teacher in teachers.values():
            teacher.eval()

    @torch.inference_mode()
    def maps(self, image: Tensor) -> Maps:
        """Predict a normalised volume (Z, Y, X) on the working grid."""
        patch = self._plan.patch_zyx
        shape = image.shape
        padding: list[int] = []
        for size, edge in zip(reversed(shape), reversed(patch), strict=True):
            missing = max(0, edge - size)
            padding += [missing // 2, missing - missing // 2]
        padded = functional.pad(image.float(), padding)
        classes = self._method.task.classes
        total = torch.zeros((2 * classes + 2, *padded.shape))
        window = gaussian_window(patch)
        for box in windows(padded.shape, patch):
            crop = padded[box].to(self._device)[None, None]
            values = self._window(crop)
            stacked = torch.cat(
                [values.probabilities, values.distance, values.gap], dim=1
            )[0].cpu()
            total[(slice(0, -1), *box)] += stacked * window
            total[(-1, *box)] += window
        inner = tuple(
            slice(padding[2 * axis], padding[2 * axis] + size)
            for axis, size in zip((2, 1, 0), shape, strict=True)
        )
        mean = (total[:-1] / total[-1:].clamp_min(1e-6))[(slice(None), *inner)]
        return Maps(mean[:classes], mean[classes:-1], mean[-1:])

    def _window(self, crop: Tensor) -> Inference:
        """Average over the mirrored views that training has seen."""
        crop = crop.contiguous(memory_format=torch.channels_last_3d)
        views = [
            [axis + 2 for axis in axes]
            for count in range(len(FLIP_AXES) + 1)
            for axes in itertools.combinations(FLIP_AXES, count)
        ]
        found = []
        for axes in views:
            with autocast(self._device, self._plan.precision):
                said = self._method.infer(self._teachers, crop.flip(axes))
            found.append([part.float().flip(axes) for part in said])
        means = (torch.stack(part).mean(dim=0) for part in zip(*found, strict=True))
        return type(said)(*means)

    def predict(
        self, case: Case, labels: LabelScheme, run: str, step: int
    ) -> Prediction:
        """Predict a case onto its own grid.

        Probabilities, not labels, are resampled, and the largest is taken there.
        """
        geometry = case.geometry
        shape = geometry.shape_zyx
        working = working_shape(shape, geometry.spacing_mm, self._plan.spacing_mm)
        image = working_image(case.read_image().data, working, self._plan)
        maps = self.maps(image)
        kind = self._method.uncertainty
        doubt = maps.entropy if kind == "entropy" else maps.gap
        values = np.array([0, *labels.values], dtype=np.uint8)
        indices = np.empty(shape, dtype=np.uint8)
        for planes, part in slabs(maps.probabilities, shape):
            indices[planes] = part.argmax(dim=0).numpy()
        voxels = np.bincount(indices.ravel(), minlength=len(values))
        volumes = {
            item.name: float(voxels[index] * geometry.voxel_ml)
            for index, item in enumerate(labels, start=1)
        }
        record = PredictionRecord(
            case=case.id,
            run=run,
            step=step,
            method=self._method.name,
            image_sha256=case.record.sha256,
            uncertainty_kind=UNCERTAINTY[kind],
            score=score_case(maps, doubt, geometry, volumes),
        )
        return Prediction(
            record=record,
            geometry=geometry,
            labels=values[indices],
            sdm_mm=_resampled(maps.distance[1:] * self._plan.sdm_limit_mm, shape),
            uncertainty=_resampled(doubt, shape)[0],
        )


def _resampled(maps: Tensor, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    result = np.empty((maps.shape[0], *shape), dtype=np.float32)
    for planes, part in slabs(maps, shape):
        result[:, planes] = part.numpy()
    return result


def gaussian_window(patch: Sequence[int]) -> Tensor:
    """Weight of a window: a Gaussian, sigma an eighth of the size, at least 1e-3."""
    window = torch.ones(())
    for size in patch:
        position = torch.arange(size) - (size - 1) / 2
        window = window[..., None] * torch.exp(-0.5 * (position / (size / 8)) ** 2)
    return window.clamp_min(1e-3)


def windows(
    shape: Sequence[int], patch: Sequence[int]
) -> Iterator[tuple[slice, slice, slice]]:
    """Boxes of ``patch`` that cover ``shape`` evenly, at most half a patch apart."""
    starts = []
    for size, edge in zip(shape, patch, strict=True):
        count = int(np.ceil((size - edge) / (edge * STEP))) + 1
        starts.append(np.round(np.linspace(0, size - edge, count)).astype(int))
    for z, y, x in itertools.product(*starts):
        yield (
            slice(int(z), int(z) + patch[0]),
            slice(int(y), int(y) + patch[1]),
            slice(int(x), int(x) + patch[2]),
        )
