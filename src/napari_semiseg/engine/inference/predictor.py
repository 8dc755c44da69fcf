"""Sliding-window inference in bounded memory, and back onto the case's grid."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_semiseg.core.cancellation import NEVER
from napari_semiseg.core.prediction import Prediction, PredictionRecord, map_dtype
from napari_semiseg.engine.data.augment import FLIP_AXES
from napari_semiseg.engine.data.cache import working_images
from napari_semiseg.engine.devices import autocast
from napari_semiseg.engine.inference.feature_maps import FeatureAccumulator
from napari_semiseg.engine.inference.own_statistics import (
    batch_norm_layers,
    own_statistics,
)
from napari_semiseg.engine.inference.uncertainty import (
    UncertaintyMaps,
    extent,
    score_case,
)
from napari_semiseg.engine.methods.perturbations import entropy
from napari_semiseg.engine.networks.embedding import EmbeddingAccumulator
from napari_semiseg.engine.out_of_memory import out_of_memory_advice, prediction_advice
from napari_semiseg.imaging.distance import truncated_distance
from napari_semiseg.imaging.foreign_scans import (
    is_settled,
    own_share,
    windows_to_look_at,
)
from napari_semiseg.imaging.morphology import keep_largest_pieces
from napari_semiseg.imaging.resampling import slabs, working_shape
from napari_semiseg.imaging.sliding_window import (
    mirrored_views,
    padded,
    predict_planes,
    sliding_window,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_semiseg.core.cancellation import CancellationToken
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.core.plan import Plan
    from napari_semiseg.engine.methods.base import Inference, Method
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork
    from napari_semiseg.imaging.sliding_window import Start
    from napari_semiseg.project.cases.case import Case

UNCERTAINTY = {
    "entropy": "expected loss by the entropy of the average over mirrored views",
    "gap": "expected loss by the gap between mask and signed distance",
}
DISTANCE_STEP = 0.1
"""Of the smallest edge of a working voxel: what is finer in a distance is noise."""
LONG = 0.9
"""Of the plan's limit: from here on a distance counts as the limit, which says no more
than that it is long."""


@dataclass(frozen=True)
class Maps:
    """Prediction of a volume or some planes of it, on the working grid, float32.

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
    cancellation : CancellationToken, optional
        Checked at every window.
    feature_maps : bool
        Whether predictions come with `FeatureMaps`.
    familiar : callable, optional
        Tells how far apart scans with labels are, see `imaging.foreign_scans`; asked
        once, where a scan seems foreign.
    """

    def __init__(
        self,
        method: Method,
        teachers: dict[str, SegmentationNetwork],
        plan: Plan,
        device: torch.device,
        cancellation: CancellationToken = NEVER,
        *,
        feature_maps: bool = False,
        familiar: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._method = method
        self._teachers = teachers
        self._plan = plan
        self._device = device
        self.cancellation = cancellation
        self._embedding = EmbeddingAccumulator()
        self._keeps_features = feature_maps
        self._features: FeatureAccumulator | None = None
        self._familiar = familiar
        self._layers = batch_norm_layers(teachers.values())
        for teacher in teachers.values():
            teacher.eval()

    @torch.inference_mode()
    def maps(self, image: NDArray[np.float32]) -> Maps:
        """Predict normalised channels (K, Z, Y, X) on the working grid, whole."""
        blocks = list(self.planes(image))
        return Maps(
            *(
                torch.cat([getattr(block, name) for block in blocks], dim=1)
                for name in ("probabilities", "distance", "gap")
            )
        )

    @torch.inference_mode()
    def planes(self, image: NDArray[np.float32]) -> Iterator[Maps]:
        """Predict as `maps` does, in blocks of planes, first to last.

        In a volume of many windows only those near something that a quicker look
        has found are predicted; the rest is background, which is certain.
        """
        patch, classes = self._plan.patch_zyx, self._method.task.classes
        structures = classes - 1
        # no class likely, background deep inside of itself, no gap
        elsewhere = [1, *[0] * structures, -1, *[1] * structures, 0]
        self._features = None
        if self._keeps_features:
            self._features = FeatureAccumulator(image.shape[-3:])
        with ExitStack() as adapted:
            if share := self._own_share(image):
                adapted.enter_context(own_statistics(self._layers, share))
            for block in predict_planes(
                image, patch, elsewhere, self._predict_at, self._foreground
            ):
                maps = torch.from_numpy(block)
                yield Maps(maps[:classes], maps[classes:-1], maps[-1:])

    @torch.inference_mode()
    def apart(self, image: NDArray[np.float32]) -> float:
        """Measure how far a scan (K, Z, Y, X) is from those of the training.

        Mean over layers, maps and windows of the distance between its mean and the
        known one, in standard deviations; 0 of a network that knows no statistics.
        """
        if not self._layers:
            return 0.0
        with own_statistics(self._layers, 0.0) as apart:
            for window in windows_to_look_at(image, self._plan.patch_zyx):
                self._quick(window)
        return float(torch.stack(apart).mean())

    def _own_share(self, image: NDArray[np.float32]) -> float:
        """How far to adapt to a scan (K, Z, Y, X), see `imaging.foreign_scans`."""
        share = own_share(self.apart(image))
        return share if share and self._settled else 0.0

    @cached_property
    def _settled(self) -> bool:
        return is_settled(self._familiar())

    def _crop(self, window: NDArray[np.float32]) -> Tensor:
        self.cancellation.check()
        crop = torch.from_numpy(window).float().to(self._device)[None]
        return crop.contiguous(memory_format=torch.channels_last_3d)

    @torch.inference_mode()
    def glance(self, image: NDArray[np.float32]) -> NDArray[np.intp]:
        """Predict class indices (Z, Y, X) of channels (K, Z, Y, X) at little cost.

        Windows overlap no more than they must, and are not mirrored.
        """
        patch, classes = self._plan.patch_zyx, self._method.task.classes
        larger, inner = padded(image, patch)
        blocks = sliding_window(
            larger, patch, classes, lambda window, _: self._quick(window), step=1.0
        )
        maps = np.concatenate(list(blocks), axis=1)[(slice(None), *inner)]
        indices: NDArray[np.intp] = maps.argmax(axis=0)
        return indices

    def _quick(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (C, z, y, x) of a window, without mirrored views."""
        with autocast(self._device, self._plan.precision):
            output = self._method.infer(self._teachers, self._crop(window))
        found: NDArray[np.float32] = output.probabilities[0].float().cpu().numpy()
        return found

    def _foreground(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability (z, y, x) of any structure."""
        found: NDArray[np.float32] = 1 - self._quick(window)[0]
        return found

    def _predict_at(
        self, window: NDArray[np.float32], start: Start
    ) -> NDArray[np.float32]:
        """All maps (2 C + 1, z, y, x) of a window; its features are kept."""
        maps = self._predict_window(window)
        if self._features is not None:
            self._features.add(maps[: self._method.task.classes], start)
        return maps.numpy()

    def _predict_window(self, window: NDArray[np.float32]) -> Tensor:
        """All maps (2 C + 1, z, y, x) of a window."""
        return torch.cat(self._mirrored_mean(self._crop(window)), dim=1)[0].cpu()

    def _mirrored_mean(self, crop: Tensor) -> Inference:
        """Average over the mirrored views that training has seen."""
        found = []
        first = next(iter(self._teachers.values()), None)
        for view in mirrored_views(FLIP_AXES if self._plan.mirrored else ()):
            axes = [axis + 2 for axis in view]
            self.cancellation.check()
            with ExitStack() as recorded:
                if not axes:
                    recorded.enter_context(self._embedding.recording(first))
                if not axes and self._features is not None:
                    recorded.enter_context(self._features.recording(first))
                recorded.enter_context(autocast(self._device, self._plan.precision))
                output = self._method.infer(self._teachers, crop.flip(axes))
            if not axes:
                self._embedding.add(output.probabilities)
            found.append([part.float().flip(axes) for part in output])
        means = (torch.stack(part).mean(dim=0) for part in zip(*found, strict=True))
        return type(output)(*means)

    @out_of_memory_advice(prediction_advice)
    def predict(
        self, case: Case, labels: LabelScheme, run: str, step: int
    ) -> Prediction:
        """Predict a case onto its own grid.

        Probabilities, not labels, are resampled, and the largest is taken there.

        Raises
        ------
        SemisegError
            The image is not what it was, or there is no memory left for it.
        """
        geometry = case.geometry
        shape = geometry.shape_zyx
        working = working_shape(shape, geometry.spacing_mm, self._plan.spacing_mm)
        kind, classes = self._method.uncertainty, self._method.task.classes
        maps = UncertaintyMaps.empty(working, kind)
        values = np.array([0, *labels.values], dtype=np.uint8)
        found = np.empty(shape, dtype=np.uint8)
        sdm = np.empty((classes - 1, *shape), dtype=map_dtype(shape))
        doubt = np.empty(shape, dtype=map_dtype(shape))
        self._embedding = EmbeddingAccumulator()
        image = working_images(case, working, self._plan, self.cancellation)
        blocks = self._filled(self.planes(image), maps)
        for planes, part in slabs(blocks, working[0], shape):
            self.cancellation.check()
            indices = part[:classes].argmax(axis=0)
            found[planes] = values[indices]
            sdm[:, planes] = self._stored(part[classes:-1])
            doubt[planes] = part[-1]
        self._drop_pieces(found, sdm, maps.indices, values)
        voxels = np.bincount(found.ravel(), minlength=256)
        if not self._method.regresses:
            limit = self._plan.sdm_limit_mm
            for into, value in zip(sdm, labels.values, strict=True):
                self.cancellation.check()
                inside = found == value
                into[:] = truncated_distance(inside, geometry.spacing_mm, limit)
        volumes = {
            item.name: float(voxels[item.value] * geometry.voxel_ml) for item in labels
        }
        record = PredictionRecord(
            case=case.id,
            run=run,
            step=step,
            method=self._method.name,
            image_sha256=case.record.sha256,
            uncertainty_kind=UNCERTAINTY[kind],
            score=score_case(
                maps,
                geometry,
                volumes,
                self._embedding.mean.tolist(),
                extent(found),
            ),
            at=time.time(),
        )
        return Prediction(
            record=record,
            geometry=geometry,
            labels=found,
            sdm_mm=sdm,
            uncertainty=doubt,
            feature_maps=None if self._features is None else self._features.result(),
        )

    def _drop_pieces(
        self,
        found: NDArray[np.uint8],
        sdm_mm: NDArray[np.floating],
        indices: NDArray[np.uint8],
        values: NDArray[np.uint8],
    ) -> None:
        """Leave the largest piece of each structure that the plan says is one.

        In the mask (Z, Y, X), and in the class indices on the working grid, by which
        scores are estimated. Distances (C - 1, Z, Y, X) that were negative there become
        positive.
        """
        single = self._plan.single_pieces
        if not single:
            return
        lost = keep_largest_pieces(found, single)
        if lost.any():
            for into in sdm_mm:
                into[lost] = np.abs(into[lost])
        keep_largest_pieces(indices, np.flatnonzero(np.isin(values, single)).tolist())

    def _stored(self, distance_mm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Drop from distances what a file could only keep as noise, voxel by voxel.

        What is left varies near surfaces alone, so that the file of many classes
        grows with these and not with the volume.
        """
        limit = self._plan.sdm_limit_mm
        step = DISTANCE_STEP * min(self._plan.spacing_mm)
        far = np.sign(distance_mm) * limit
        near = np.abs(distance_mm) < LONG * limit
        return np.where(near, np.round(distance_mm / step) * step, far)

    def _filled(
        self, blocks: Iterable[Maps], uncertainty: UncertaintyMaps
    ) -> Iterator[NDArray[np.float32]]:
        """Keep what scores need, and stack what goes onto the case's grid."""
        start = 0
        for maps in blocks:
            planes = slice(start, start + maps.gap.shape[1])
            start = planes.stop
            uncertainty.indices[planes] = maps.probabilities.argmax(dim=0).numpy()
            uncertainty.entropy[planes] = maps.entropy[0].numpy()
            uncertainty.gap[planes] = maps.gap[0].numpy()
            distance_mm = maps.distance[1:] * self._plan.sdm_limit_mm
            doubt = maps.entropy if uncertainty.kind == "entropy" else maps.gap
            yield torch.cat([maps.probabilities, distance_mm, doubt]).numpy()
