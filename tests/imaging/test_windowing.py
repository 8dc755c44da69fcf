from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.imaging.windowing import (
    AUTOMATIC,
    CT,
    PERCENTILES,
    Window,
    is_ct,
    windows_for,
)


def chest() -> np.ndarray:
    """Air, lung, soft tissue and bone in HU."""
    values = np.full((20, 40, 40), 40, np.int16)
    values[:, :8] = -1000
    values[:, 10:16, 10:20] = -750
    values[:, 20:22, 20:22] = 900
    return values


def test_ct_is_told_from_other_scans() -> None:
    mr = np.random.default_rng(0).gamma(3, 60, (20, 40, 40))
    assert is_ct(chest())
    assert windows_for(chest()) is CT
    for other in (mr, mr - mr.mean(), (mr - mr.mean()) / mr.std(), 1e5 * (mr - 200)):
        assert windows_for(other) is PERCENTILES


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("Soft tissue", -160, 240), ("Lung", -1350, 150), ("Brain", 0, 80)],
)
def test_ct_windows_are_the_customary_ones(name: str, low: float, high: float) -> None:
    (window,) = (one for one in CT if one.name == name)
    assert window.limits(chest()) == (low, high)


def test_percentiles_are_the_scans_own() -> None:
    ramp = np.arange(1001.0).reshape(7, 11, 13)
    assert AUTOMATIC.limits(ramp) == pytest.approx((5, 995))
    for window in PERCENTILES:
        low, high = window.limits(ramp)
        assert 0 <= low < high <= 1000
        assert window.limits(10 * ramp) == pytest.approx((10 * low, 10 * high))


def test_a_scan_of_one_value_still_has_a_range() -> None:
    low, high = Window("x", 50, 99, percent=True).limits(np.zeros((3, 4, 5)))
    assert low < high
