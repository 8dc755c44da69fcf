"""Batched augmentation: one affine resampling per crop, then intensities."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.engine.data.batch import Batch
from napari_semiseg.imaging.resampling import thick_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

ROTATION_DEGREES = 15.0
TURNED = 0.5
"""Part of the crops with thick slices that are turned in their plane by any angle:
such slices are often laid out by the organ, as short axes of hearts are, and so lie
differently in every patient."""
SHIFTED, SHIFT = 0.5, 0.5
"""Part of the crops whose thick slices are moved in their plane, each by itself, and
the largest deviation of that, in slices: such slices are scanned one after another, as
hearts are at one breath after another, and between two of them an organ goes on."""
SCALE = (0.85, 1.18)
CONTRAST, GAMMA = 0.55, 0.6
"""Largest logarithm of the factor and of the exponent of a crop's grey values."""
BRIGHTNESS, COIL = 0.3, 0.5
"""Deviations of what is added, and of the logarithm of a place's brightness at most.
Grey values of one structure differ that much between patients: the left ventricle of
ACDC has 0.5 to 2.9."""
CALIBRATED = 0.5
"""Part of these ranges where a grey value means the same in every scan."""
FLIP_AXES = (2,)
"""Axes that are mirrored in training and at prediction: left and right only, since
up and down or front and back are facts about a patient; none where classes tell the
sides apart."""
PLANE = 512
"""What a target holds the planes in, above all values of a class."""


class Crops(NamedTuple):
    """Crops larger than the patch, as read.

    Attributes
    ----------
    image : Tensor (B, K + 1, Z, Y, X)
        Intensities of each channel, and 1 inside the volume.
    target : Tensor (L, 1, Z, Y, X)
        Class index + 1; 0 outside the volume, 256 where not annotated. Besides, `PLANE`
        times the planes of a `Batch`.
    distance_intervals : Tensor (L, C or 2 C, Z, Y, X)
        Signed distances, or their lowest and then highest values where not exact.
    classes : int
        Number of classes C.
    cases : tuple of str
        Ids of their cases.
    """

    image: Tensor
    target: Tensor
    distance_intervals: Tensor
    classes: int
    cases: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Crops:
        """Move them to a device."""
        image, target, intervals = (
            part.to(device, non_blocking=True)
            for part in (self.image, self.target, self.distance_intervals)
        )
        return Crops(image, target, intervals, self.classes, self.cases)


def augment(
    crops: Crops,
    generators: Sequence[np.random.Generator],
    patch: Sequence[int],
    spacing_mm: Sequence[float],
    *,
    mirrored: bool = True,
    calibrated: Sequence[bool] = (False,),
) -> Batch:
    """Sample one random view per crop: rotation, scale, mirror, shifts, intensities.

    Each crop has a generator, so that its view does not depend on those beside it.
    Image, label, validity and distances move together; distances shrink with the
    scale, as they are lengths. Padding is no neighbour to interpolate with.
    ``calibrated`` says of each channel whether its grey values are.
    """
    count, labelled = crops.image.shape[0], crops.target.shape[0]
    scales = np.exp([rng.uniform(*np.log(SCALE)) for rng in generators])
    axes = FLIP_AXES if mirrored else ()
    across = thick_axis(spacing_mm)
    matrices = np.stack(
        [
            _matrix(rng, spacing_mm, scale, axes, across)
            for rng, scale in zip(generators, scales, strict=True)
        ]
    )
    shape = crops.image.shape[2:]
    grid = _grid(matrices, shape, patch, crops.image.device)
    if across is not None:
        grid = _shifted(grid, generators, across, shape, spacing_mm)
    view = functional.grid_sample(crops.image, grid, align_corners=False)
    share = view[:, -1:]
    inside = share > 0.5
    share = share.clamp_min(0.5)
    # Intensities of each channel change by themselves, as if it were a crop.
    grey = (view[:, :-1] / share).flatten(0, 1).unsqueeze(1)
    spreads = np.resize(np.where(calibrated, CALIBRATED, 1.0), len(grey) // count)
    looks = [_Look.drawn(rng, spread) for rng in generators for spread in spreads]
    seen = _with_looks(grey, looks).view(count, -1, *patch)
    image = torch.where(inside, seen, 0.0)
    target = functional.grid_sample(
        crops.target, grid[:labelled], mode="nearest", align_corners=False
    )
    values = target[:, 0].round().long()
    indices = values % PLANE - 1
    valid = (indices >= 0) & (indices != UNANNOTATED) & inside[:labelled, 0]
    distances = functional.grid_sample(
        crops.distance_intervals, grid[:labelled], align_corners=False
    )
    distances = (distances / share[:labelled]).clamp(-1, 1)
    scaled = (distances / _per_item(scales[:labelled], distances)).clamp(-1, 1)
    # Beyond the limit a distance is only known to be long.
    longest = torch.where(distances.abs() > 0.999, distances, scaled)
    low = torch.minimum(scaled, longest)[:, : crops.classes]
    high = torch.maximum(scaled, longest)[:, -crops.classes :]
    return Batch(
        image=image.contiguous(memory_format=torch.channels_last_3d),
        inside=inside,
        target=torch.where(valid, indices, 0),
        valid=valid,
        low=low,
        high=high,
        planes=torch.where(valid, values // PLANE, 0),
        cases=crops.cases,
    )


def _matrix(
    rng: np.random.Generator,
    spacing_mm: Sequence[float],
    scale: float,
    mirrored: Sequence[int],
    across: int | None,
) -> NDArray[np.float64]:
    """Map patch voxels to crop voxels, (x, y, z), about the centre; rigid in mm.

    ``across`` is the axis across thick slices, if they are such.
    """
    angles = np.deg2rad(rng.uniform(-ROTATION_DEGREES, ROTATION_DEGREES, 3))
    if across is not None and rng.random() < TURNED:
        angles[2 - across] = rng.uniform(-np.pi, np.pi)
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = [other for other in range(3) if other != axis]
        plane = np.eye(3)
        plane[first, first] = plane[second, second] = np.cos(angle)
        plane[first, second], plane[second, first] = -np.sin(angle), np.sin(angle)
        turn = turn @ plane
    mirror = np.ones(3)
    for axis in mirrored:
        mirror[2 - axis] = rng.choice([-1.0, 1.0])
    step = np.array(spacing_mm)[::-1]
    matrix: NDArray[np.float64] = turn * scale * mirror
    matrix *= step[np.newaxis, :] / step[:, np.newaxis]
    return matrix


def _grid(
    matrices: NDArray[np.float64],
    crop: Sequence[int],
    patch: Sequence[int],
    device: torch.device,
) -> Tensor:
    """Make the sampling grid (B, Z, Y, X, 3) in a crop's normalised coordinates."""
    inner = np.array(patch)[::-1] / 2.0
    outer = np.array(crop)[::-1] / 2.0
    theta = np.zeros((len(matrices), 3, 4))
    theta[:, :, :3] = matrices * inner[np.newaxis, np.newaxis, :]
    theta[:, :, :3] /= outer[np.newaxis, :, np.newaxis]
    return functional.affine_grid(
        torch.from_numpy(theta).float().to(device, non_blocking=True),
        [len(matrices), 1, *patch],
        align_corners=False,
    )


def _shifted(
    grid: Tensor,
    generators: Sequence[np.random.Generator],
    across: int,
    crop: Sequence[int],
    spacing_mm: Sequence[float],
) -> Tensor:
    """Move the slices of some crops in their plane, each by itself."""
    shape = [1 if 1 <= dim <= 3 else size for dim, size in enumerate(grid.shape)]
    shape[1 + across] = grid.shape[1 + across]
    moves = np.zeros(shape)
    half_mm = np.multiply(crop, spacing_mm)[::-1] / 2.0
    for own, rng in zip(moves, generators, strict=True):
        if rng.random() < SHIFTED:
            deviation_mm = rng.uniform(0.0, SHIFT) * spacing_mm[across]
            own[:] = rng.normal(0.0, deviation_mm, own.shape) / half_mm
    moves[..., 2 - across] = 0.0
    return grid + torch.from_numpy(moves).float().to(grid.device, non_blocking=True)


class _Look(NamedTuple):
    """Random changes of the grey values of one channel of a crop.

    ``coil`` holds a few logarithms (2, 3, 3) of how bright places are: near a receiver
    coil more, after the bias fields of Sudre et al. (2017).
    """

    contrast: float
    brightness: float
    gamma: float
    sharpness: float
    noise: float
    seed: int
    coil: NDArray[np.float64]

    @classmethod
    def drawn(cls, rng: np.random.Generator, spread: float) -> _Look:
        """Draw from such a part of the ranges; only from whole ones with a coil."""
        gamma = spread * rng.uniform(-GAMMA, GAMMA) if rng.random() < 0.5 else 0.0
        coil = rng.uniform(0.0, COIL) if rng.random() < 0.6 and spread == 1.0 else 0.0
        return cls(
            contrast=np.exp(spread * rng.uniform(-CONTRAST, CONTRAST)),
            brightness=rng.normal(0.0, spread * BRIGHTNESS),
            gamma=np.exp(gamma),
            sharpness=rng.random() if rng.random() < 0.25 else 1.0,
            noise=rng.uniform(0.0, 0.15) if rng.random() < 0.5 else 0.0,
            seed=int(rng.integers(2**62)),
            coil=coil * rng.normal(size=(2, 3, 3)),
        )


def _with_looks(image: Tensor, looks: Sequence[_Look]) -> Tensor:
    """Change brightness, contrast, gamma, blur and noise of crops (B, 1, ...)."""
    contrast, brightness, gamma, sharpness = (
        _per_item(np.array([look[at] for look in looks]), image) for at in range(4)
    )
    knots = torch.from_numpy(np.stack([look.coil for look in looks])).float()
    coil = functional.interpolate(
        knots.unsqueeze(1).to(image.device, non_blocking=True),
        image.shape[2:],
        mode="trilinear",
        align_corners=True,
    )
    low = image.amin(dim=(1, 2, 3, 4), keepdim=True)
    image = (image - low) * coil.exp()
    width = image.amax(dim=(1, 2, 3, 4), keepdim=True).clamp_min(1e-3)
    image = (image / width).pow(gamma) * width + low
    image = image * contrast + brightness
    if any(look.sharpness < 1.0 for look in looks):
        blurred = functional.avg_pool3d(image, 3, 1, 1, count_include_pad=False)
        image = torch.lerp(blurred, image, sharpness)
    generator = torch.Generator(image.device)
    for one, look in zip(image, looks, strict=True):
        if look.noise:
            generator.manual_seed(look.seed)
            drawn = torch.empty_like(one).normal_(generator=generator)
            one.add_(drawn, alpha=look.noise)
    return image


def _per_item(values: NDArray[np.float64], like: Tensor) -> Tensor:
    """Reshape (B,) numbers to (B, 1, 1, 1, 1) on a tensor's device."""
    there = torch.from_numpy(values).float().to(like.device, non_blocking=True)
    return there.view(-1, 1, 1, 1, 1)
