"""Dice, HD95 and ASSD of a mask against MedPy, with equal values.

    pip install medpy
    python benchmarks/metrics.py

A prediction that is close to the reference, and one that is far from it.
"""

from __future__ import annotations

import numpy as np
from medpy.metric import binary
from pairs import compare

from napari_semiseg.core.geometry import Geometry
from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.imaging.metrics import evaluate_labels

SHAPE, SPACING_MM = (88, 160, 192), (1.25, 0.625, 0.625)
SHIFTS = {"near": 2, "far": 30}


def main() -> None:
    centres = [
        (np.arange(size) - size / 2) * step
        for size, step in zip(SHAPE, SPACING_MM, strict=True)
    ]
    z, y, x = np.meshgrid(*centres, indexing="ij", sparse=True)
    reference = ((z / 30) ** 2 + (y / 25) ** 2 + (x / 35) ** 2 < 1).astype(np.uint8)
    geometry = Geometry(SHAPE, np.diag([*SPACING_MM, 1.0]))
    scheme = LabelScheme.parse(["1=atrium"])
    for name, shift in SHIFTS.items():
        mask = np.roll(reference, shift, axis=2)

        def ours(mask: np.ndarray = mask) -> tuple[float, float, float]:
            found = evaluate_labels(mask, reference, geometry, scheme)["atrium"]
            return found.dice, found.hd95_mm, found.assd_mm

        def theirs(mask: np.ndarray = mask) -> tuple[float, float, float]:
            return (
                binary.dc(mask, reference),
                binary.hd95(mask, reference, SPACING_MM),
                binary.assd(mask, reference, SPACING_MM),
            )

        if not np.allclose(ours(), theirs(), atol=1e-6):
            raise SystemExit(f"expected equal scores, found {ours()} and {theirs()}")
        compare(
            f"metrics of {'x'.join(map(str, SHAPE))}, prediction {name}",
            ours,
            theirs,
            peer="MedPy dc, hd95, assd",
            repeats=3,
            dice=round(ours()[0], 4),
        )


if __name__ == "__main__":
    main()
