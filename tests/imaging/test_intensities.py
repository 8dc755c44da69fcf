from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.plan import Intensity
from napari_semiseg.imaging.intensities import normalise


def test_what_lies_at_the_rim_changes_the_normalised_middle_less():
    """Bright fat beside a coil, or more air, in the field of view."""
    rng = np.random.default_rng(0)
    plain = rng.normal(100, 10, (24, 40, 40)).astype(np.float32)
    bright, dark = plain.copy(), plain.copy()
    bright[:, :6], dark[:, :6] = 300.0, 0.0
    middle = np.s_[9:15, 15:25, 15:25]
    shifts = {
        kind: [
            abs(float(normalise(image, how)[middle].mean()))
            for image in (bright, dark)
            for how in [Intensity(kind=kind, cut=(0, 100), mean_std=(0, 1))]
        ]
        for kind in ("zscore", "central")
    }
    assert max(shifts["central"]) < 0.6 * min(shifts["zscore"])


def test_central_statistics_are_those_of_an_even_volume():
    image = np.random.default_rng(0).normal(50.0, 5.0, (40, 44, 48))
    how = Intensity(kind="central", cut=(0, 100), mean_std=(0, 1))
    normalised = normalise(image.astype(np.float32), how)
    assert normalised.mean() == pytest.approx(0, abs=0.05)
    assert normalised.std() == pytest.approx(1, rel=0.05)
    assert np.isfinite(normalise(np.full((3, 4, 5), 7.0), how)).all()
