"""Run an exported model without PyTorch: NumPy and ONNX Runtime are enough."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.labels import LabelScheme, voxel_counts
from napari_semiseg.deployment.pipeline import Pipeline
from napari_semiseg.errors import ConfigError, ImageError, ProjectError
from napari_semiseg.imaging.foreign_scans import own_share, windows_to_look_at
from napari_semiseg.imaging.intensities import normalise
from napari_semiseg.imaging.morphology import keep_largest_pieces
from napari_semiseg.imaging.resampling import resample, slabs, working_shape
from napari_semiseg.imaging.sliding_window import predict_planes
from napari_semiseg.io.images import Image, case_id, file_sha256, read_image
from napari_semiseg.io.masks import write_labels

if TYPE_CHECKING:
    from napari_semiseg.imaging.sliding_window import Start

EXACT: tuple[tuple[str, dict[str, int]], ...] = (
    ("CUDAExecutionProvider", {"use_tf32": 0}),
    ("CPUExecutionProvider", {}),
)
"""What computes in single precision; others round more."""
INSTALL = "pip install 'napari-semiseg[onnx]'"


@dataclass(frozen=True, slots=True)
class PredictedMask:
    """A mask that `run_model` wrote: its file, and mL of each structure by name."""

    mask: Path
    volumes_ml: dict[str, float]


class ExportedModel:
    """A network in ONNX Runtime with the pipeline around it.

    Parameters
    ----------
    folder : Path
        What `export_model` wrote, in either layout.

    Raises
    ------
    SemisegError
        The folder holds no such model, its network was changed, or ONNX Runtime is
        absent.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(
                f"expected ONNX Runtime to run a model, found '{error}'; run: {INSTALL}"
            ) from error
        self.pipeline, network = Pipeline.read(Path(folder))
        if file_sha256(network) != self.pipeline.model_sha256:
            raise ProjectError(
                f"{network}: expected the network that its pipeline names, found "
                f"another file; export the model again"
            )
        options = onnxruntime.SessionOptions()
        if hasattr(os, "sched_getaffinity"):  # else it takes cores of others, too
            options.intra_op_num_threads = len(os.sched_getaffinity(0))
        present = onnxruntime.get_available_providers()
        self._session: Any = onnxruntime.InferenceSession(
            network, options, providers=[one for one in EXACT if one[0] in present]
        )

        self._own = 0.0
        self._apart: list[float] = []

    @property
    def labels(self) -> LabelScheme:
        """Its classes."""
        return LabelScheme(classes=self.pipeline.classes)

    def predict(self, images: Sequence[Image]) -> NDArray[np.uint8]:
        """Segment the images of a case, one for each channel, on one grid.

        Returns
        -------
        labels : ndarray (Z, Y, X), uint8
            On the grid of the images.

        Raises
        ------
        ImageError
            There are more or fewer images than channels, or their grids differ.
        """
        pipeline, geometry = self.pipeline, images[0].geometry
        if len(images) != len(pipeline.channels):
            raise ImageError(
                f"expected {len(pipeline.channels)} images a case "
                f"({', '.join(pipeline.channels)}), found {len(images)}; give them in "
                f"this order"
            )
        for other in images[1:]:
            if (difference := geometry.difference(other.geometry)) is not None:
                raise ImageError(
                    f"expected images of a case on one grid, found {difference}; "
                    f"resample them onto the first"
                )
        shape = geometry.shape_zyx
        working = working_shape(shape, geometry.spacing_mm, pipeline.spacing_mm)
        channels = [
            resample(normalise(image.data, how)[None], working)
            for image, how in zip(images, pipeline.intensities, strict=True)
        ]
        values = np.array([0, *self.labels.values], dtype=np.uint8)
        volume = np.concatenate(channels)
        self._adapt_to(volume)
        blocks = predict_planes(
            volume,
            pipeline.patch_zyx,
            [1.0, *[0.0] * len(pipeline.classes)],
            self._mirrored_mean,
            lambda window: 1 - self._probabilities(window)[0],
            step=1 - pipeline.overlap,
        )
        found = np.empty(shape, dtype=np.uint8)
        for planes, part in slabs(blocks, working[0], shape):
            found[planes] = values[part.argmax(axis=0)]
        keep_largest_pieces(found, pipeline.single_pieces)
        return found

    def _mirrored_mean(
        self, window: NDArray[np.float32], _start: Start
    ) -> NDArray[np.float32]:
        """Average over the views (C, z, y, x)."""
        views = []
        for axes in self.pipeline.flips:
            turned = tuple(axis + 1 for axis in axes)
            found = self._probabilities(np.flip(window, turned))
            views.append(np.flip(found, turned))
        mean: NDArray[np.float32] = np.mean(views, axis=0, dtype=np.float32)
        return mean

    def _probabilities(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer (C, z, y, x) of the network for a window (K, z, y, x)."""
        given: dict[str, NDArray[np.float32]]
        given = {self.pipeline.input: np.ascontiguousarray(window[None])}
        if self.pipeline.adapts:
            given["own"] = np.array(self._own, dtype=np.float32)
        answer, *apart = self._session.run(None, given)
        self._apart += map(float, apart)
        found: NDArray[np.float32] = answer[0]
        return found

    def _adapt_to(self, volume: NDArray[np.float32]) -> None:
        """Choose how far the network adapts to a volume (K, Z, Y, X)."""
        self._own, self._apart = 0.0, []
        if self.pipeline.adapts:
            for window in windows_to_look_at(volume, self.pipeline.patch_zyx):
                self._probabilities(window)
            self._own = own_share(float(np.mean(self._apart)))


def run_model(
    folder: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, PredictedMask]:
    """Segment images with an exported model, without PyTorch.

    Parameters
    ----------
    folder : Path
        What `export_model` wrote.
    images : sequence of Path
        Of K channels, K files a case, one case behind the other.
    out : Path
        Folder for the masks, each on the grid of its image; none replaces a file.
    progress : callable
        Called with the number of cases done, and of all of them.

    Returns
    -------
    dict
        Of each case by the name of its first image.

    Raises
    ------
    SemisegError
        The model cannot be run, or an image cannot be used; masks before it stay.
    """
    model = ExportedModel(folder)
    names = model.pipeline.channels
    if not images or len(images) % len(names):
        raise ConfigError(
            f"expected {len(names)} images a case ({', '.join(names)}), found "
            f"{len(images)} in all; name the images of a case one behind the other"
        )
    given: dict[str, list[Path]] = {}
    for first in range(0, len(images), len(names)):
        paths = [Path(path) for path in images[first : first + len(names)]]
        name = case_id(paths[0])
        if name in given:
            raise ConfigError(
                f"expected a name of its own for each case, found {name!r} twice; "
                f"run them one after the other into different folders"
            )
        given[name] = paths
    targets = {name: Path(out) / f"{name}.nii.gz" for name in given}
    for target in targets.values():
        if target.exists():
            raise ProjectError(
                f"{target}: expected a new file for a mask, found one; choose another "
                "--out, or move it away"
            )
    found: dict[str, PredictedMask] = {}
    for name, target in targets.items():
        volumes = [read_image(path) for path in given[name]]
        mask, geometry = model.predict(volumes), volumes[0].geometry
        write_labels(target, mask, geometry, given[name][0])
        counts = voxel_counts(mask)
        volumes_ml = {
            item.name: float(counts[item.value] * geometry.voxel_ml)
            for item in model.labels
        }
        found[name] = PredictedMask(target, volumes_ml)
        progress(len(found), len(targets))
    return found
