"""Signed distance map of a mask against scipy's distance transform of the volume.

    python benchmarks/distance_map.py

Both give the truncated distance of every voxel to the surface, in mm; the values are
compared before they are timed. scipy transforms the whole volume, inside and then
outside; ours both at once, in the surroundings in which the distance is not cut.
"""

from __future__ import annotations

import numpy as np
from pairs import compare
from scipy import ndimage

from napari_semiseg.engine.data.distance_maps import distance_intervals

SPACING_MM = (1.25, 0.625, 0.625)
LIMIT_MM = 12.5
SHAPES = {"atrium in its scan": (88, 320, 320), "atrium, cropped scan": (88, 160, 192)}


def atrium(shape: tuple[int, int, int]) -> np.ndarray:
    """An ellipsoid of the size of a left atrium in the middle of a volume."""
    centres = [
        (np.arange(size) - size / 2) * step
        for size, step in zip(shape, SPACING_MM, strict=True)
    ]
    z, y, x = np.meshgrid(*centres, indexing="ij", sparse=True)
    return ((z / 30) ** 2 + (y / 25) ** 2 + (x / 35) ** 2 < 1).astype(np.uint8)


def theirs(mask: np.ndarray) -> np.ndarray:
    """The same distance by scipy's exact transform of the whole volume."""
    inside = mask == 1
    half = 0.5 * min(SPACING_MM)
    outer = ndimage.distance_transform_edt(~inside, sampling=SPACING_MM) - half
    inner = ndimage.distance_transform_edt(inside, sampling=SPACING_MM) - half
    signed = np.where(inside, -inner, outer)
    return (np.clip(signed, -LIMIT_MM, LIMIT_MM) / LIMIT_MM).astype(np.float32)


def main() -> None:
    for name, shape in SHAPES.items():
        mask = atrium(shape)

        def ours(mask: np.ndarray = mask) -> np.ndarray:
            return distance_intervals(mask, 2, SPACING_MM, LIMIT_MM)[0][1]

        error = float(np.abs(ours() - theirs(mask)).max()) * LIMIT_MM
        if error > 1e-4:
            raise SystemExit(f"the maps differ by {error} mm")
        compare(
            f"distance map, {name} ({'x'.join(map(str, shape))})",
            ours,
            lambda mask=mask: theirs(mask),
            peer="scipy distance_transform_edt",
            repeats=3,
            largest_difference_mm=round(error, 6),
        )


if __name__ == "__main__":
    main()
