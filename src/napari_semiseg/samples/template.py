"""The average brain behind the virtual patients, and where its ventricles are.

References
----------
V. Fonov, A. C. Evans, K. Botteron, C. R. Almli, R. C. McKinstry, D. L. Collins.
Unbiased average age-appropriate atlases for pediatric studies. NeuroImage 54 (2011)
313-327. https://doi.org/10.1016/j.neuroimage.2010.07.033

V. S. Fonov, A. C. Evans, R. C. McKinstry, C. R. Almli, D. L. Collins. Unbiased
nonlinear average age-appropriate brain templates from birth to adulthood. NeuroImage
47 (2009) S102. https://doi.org/10.1016/S1053-8119(09)70884-5
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.errors import SemisegError
from napari_semiseg.imaging.distance import signed_distance

if TYPE_CHECKING:
    Array = NDArray[np.float32]

_VENTRICLES_RAS_MM = (0.0, -15.0, 14.0)


@dataclass(frozen=True)
class Template:
    """The average brain at 1 mm and its lateral ventricles.

    Attributes
    ----------
    t1 : ndarray (I, J, K), float32
        Intensity in [0, 1], 0 outside the brain.
    ventricles : ndarray (I, J, K), bool
    affine : ndarray (4, 4)
        (i, j, k, 1) to RAS+ mm.
    """

    t1: Array
    ventricles: NDArray[np.bool_]
    affine: NDArray[np.float64]

    @classmethod
    def load(cls) -> Template:
        """Read what nilearn ships; no network."""
        try:
            from nilearn import datasets
        except ImportError as error:
            raise SemisegError(
                "the demo needs nilearn, which ships the brain template: "
                "pip install 'napari-semiseg[demo]'"
            ) from error
        t1 = datasets.load_mni152_template(resolution=1)
        brain, grey, white = (
            np.asarray(load(resolution=1).dataobj, dtype=np.float32)
            for load in (
                datasets.load_mni152_brain_mask,
                datasets.load_mni152_gm_template,
                datasets.load_mni152_wm_template,
            )
        )
        affine = np.asarray(t1.affine, dtype=np.float64)
        intensity = np.where(brain > 0, np.asarray(t1.dataobj, dtype=np.float32), 0)
        fluid = (brain > 0) & (grey + white < 0.5)
        return cls(intensity, _component_near(fluid, affine), affine)

    @cached_property
    def near(self) -> tuple[slice, slice, slice]:
        """Box around the ventricles with room for the reach of their swelling."""
        where = np.argwhere(self.ventricles)
        low = np.maximum(where.min(axis=0) - 30, 0)
        high = where.max(axis=0) + 31
        i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return i, j, k

    @cached_property
    def distance_mm(self) -> Array:
        """Signed distance to the ventricles' surface in `near`, negative inside."""
        from scipy import ndimage

        signed = signed_distance(self.ventricles[self.near], (1, 1, 1))
        smooth: Array = ndimage.gaussian_filter(signed, 0.7)
        return smooth

    @cached_property
    def outward(self) -> Array:
        """Smooth direction away from the ventricles in `near`, (3, I, J, K)."""
        from scipy import ndimage

        smooth = ndimage.gaussian_filter(self.distance_mm, 3.0)
        return np.stack(list(np.gradient(smooth))).astype(np.float32)

    def sample(self, values: Array, at_mm: Array, *, near: bool = False) -> Array:
        """Interpolate an array of this grid (or of `near`) at RAS+ mm (3, …)."""
        from scipy import ndimage

        spacing = np.diag(self.affine)[:3]
        origin = self.affine[:3, 3].copy()
        if near:
            origin += spacing * [part.start for part in self.near]
        at = (at_mm - column(origin)) / column(spacing)
        if near:
            return ndimage.map_coordinates(values, at, order=1, mode="nearest")
        return ndimage.map_coordinates(values, at, order=1, mode="constant")


def _component_near(
    fluid: NDArray[np.bool_], affine: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Find the largest body of fluid that lies where the lateral ventricles are."""
    from scipy import ndimage

    parts, count = ndimage.label(fluid)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    largest = 1 + np.argsort(sizes[1:])[::-1][:5]
    for part in largest:
        mask = parts == part
        centre = affine[:3] @ [*ndimage.center_of_mass(mask), 1.0]
        if np.linalg.norm(centre - _VENTRICLES_RAS_MM) < 8:
            opened = ndimage.gaussian_filter(mask.astype(np.float32), 0.8) > 0.5
            return np.asarray(opened)
    raise SemisegError(
        "the templates of this nilearn version do not show the lateral ventricles; "
        "expected those of nilearn 0.10 or newer: pip install -U nilearn"
    )


def column(vector: NDArray[Any]) -> Array:
    """Shape three numbers so that they meet the first axis of (3, I, J, K)."""
    return np.asarray(vector, dtype=np.float32).reshape(3, 1, 1, 1)
