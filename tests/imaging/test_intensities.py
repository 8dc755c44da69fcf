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


@pytest.mark.parametrize("unit", [1e-30, 1e-9, 1e-3, 1e9, 1e30])
@pytest.mark.parametrize("kind", ["zscore", "central"])
def test_the_unit_of_an_image_does_not_matter(kind, unit):
    """Diffusion maps in m²/s hold numbers of 1e-9, counts of a camera large ones."""
    image = np.random.default_rng(0).normal(5.0, 1.0, (9, 20, 20)).astype(np.float32)
    how = Intensity(kind=kind, cut=(0.5, 99.5), mean_std=(0, 1))
    expected, found = normalise(image, how), normalise(image * np.float32(unit), how)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_few_voxels_show_is_not_cut_off():
    """A map of lesions: all else is 0, and so are both percentiles."""
    image = np.zeros((40, 60, 60), np.int16)
    image[10:14, 10:14, 10:14] = 1000
    how = Intensity(kind="central", cut=(0.5, 99.5), mean_std=(0, 1))
    found = normalise(image, how)
    assert 1 < np.ptp(found) < 300
    assert np.array_equal(found == found.max(), image > 0)
