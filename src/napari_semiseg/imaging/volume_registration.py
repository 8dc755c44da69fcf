"""Register scans of different patients by their grey values, on coarse grids."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_semiseg.errors import ImageError
from napari_semiseg.imaging.resampling import resample, working_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import SimpleITK as sitk
    from numpy.typing import NDArray

MOST_VOXELS = 50_000
"""Of a grid on which scans are registered."""
PERCENTILES = (0.5, 99.5)
SHRINK = (4, 2)
"""Factors by which the grids of the affine registration are coarser, in turn."""
AFFINE_STEPS, DEMONS_STEPS = 60, 40
SMOOTH_VOXELS = 1.5
"""Deviation by which displacements are smoothed after each step."""


@dataclass(frozen=True, slots=True)
class CoarseScan:
    """A scan on a grid of at most `MOST_VOXELS` voxels.

    Attributes
    ----------
    image : ndarray (Z, Y, X), float32
        Grey values in [0, 1].
    shares : ndarray (C, Z, Y, X), float32
        Part of each voxel that is of a class; none where it is not known.
    spacing_mm : tuple of float
        Edges (z, y, x) of a voxel.
    """

    image: NDArray[np.float32]
    shares: NDArray[np.float32]
    spacing_mm: tuple[float, ...]

    @classmethod
    def of(
        cls,
        image: NDArray[Any],
        spacing_mm: Sequence[float],
        masks: Iterable[NDArray[np.bool_]] = (),
    ) -> Self:
        """Coarsen a scan (Z, Y, X), and the masks of its classes."""
        volume = math.prod(image.shape) * math.prod(spacing_mm)
        edge = (volume / MOST_VOXELS) ** (1 / 3)
        coarse = [max(edge, step) for step in spacing_mm]
        shape = working_shape(image.shape, spacing_mm, coarse)
        grey = resample(image[np.newaxis].astype(np.float32), shape)[0]
        low, high = np.percentile(grey, PERCENTILES)
        grey = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1)
        shares = [resample(mask[None].astype(np.float32), shape)[0] for mask in masks]
        edges = (
            size * step / number
            for size, step, number in zip(image.shape, spacing_mm, shape, strict=True)
        )
        return cls(
            grey.astype(np.float32),
            np.stack(shares) if shares else np.zeros((0, *shape), np.float32),
            tuple(edges),
        )


def register(
    fixed: CoarseScan, moving: CoarseScan
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Bring a scan onto another one: first affinely, then by free displacements.

    An affine transform that maximises mutual information (Mattes et al., IEEE Trans.
    Med. Imaging 2003), then diffeomorphic demons (Vercauteren et al., NeuroImage 2009)
    after the histograms were matched; both of SimpleITK.

    Returns
    -------
    ndarray (Z, Y, X), ndarray (C, Z, Y, X)
        Grey values of the moving scan and the shares of its classes, on the grid of
        the fixed one.

    Raises
    ------
    ImageError
        One of them has too few slices, or nothing in it.
    """
    try:
        return _registered(fixed, moving)
    except RuntimeError as error:
        raise ImageError(
            "expected scans of at least 4 slices with some contrast to register, found "
            "one that cannot be registered; segment it by hand"
        ) from error


def _registered(
    fixed: CoarseScan, moving: CoarseScan
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    import SimpleITK as sitk

    target, source = (_image(each.image, each.spacing_mm) for each in (fixed, moving))
    affine = _affine(target, source)
    near = sitk.Resample(source, target, affine, sitk.sitkLinear, 0.0)
    like = sitk.HistogramMatching(near, target, 64, 7, thresholdAtMeanIntensity=False)
    demons = sitk.DiffeomorphicDemonsRegistrationFilter()
    demons.SetNumberOfIterations(DEMONS_STEPS)
    demons.SetStandardDeviations(SMOOTH_VOXELS)
    field = sitk.DisplacementFieldTransform(demons.Execute(target, like))
    both = sitk.CompositeTransform([affine, field])
    parts = [source, *(_image(each, moving.spacing_mm) for each in moving.shares)]
    moved = [
        sitk.GetArrayFromImage(
            sitk.Resample(part, target, both, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
        )
        for part in parts
    ]
    return moved[0], np.stack(moved[1:])


def _image(values: NDArray[np.float32], spacing_mm: Sequence[float]) -> sitk.Image:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(values)
    image.SetSpacing(tuple(map(float, spacing_mm[::-1])))
    return image


def _affine(target: sitk.Image, source: sitk.Image) -> sitk.Transform:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(0.25)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, AFFINE_STEPS)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK)
    method.SetSmoothingSigmasPerLevel([step / 2 for step in SHRINK])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    start: sitk.Transform = sitk.CenteredTransformInitializer(
        target,
        source,
        sitk.AffineTransform(3),
        sitk.CenteredTransformInitializerFilter.GEOMETRY,
    )
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(target, source)
    return start
