"""How far prediction adapts to a scan."""

from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.imaging.foreign_scans import (
    FAMILIAR,
    FOREIGN,
    OWN,
    SETTLED,
    WINDOWS,
    is_settled,
    own_share,
    windows_to_look_at,
)


@pytest.mark.parametrize(
    ("apart", "share"),
    [
        (0.0, 0.0),
        (FAMILIAR, 0.0),
        ((FAMILIAR + FOREIGN) / 2, OWN / 2),
        (FOREIGN, OWN),
        (9.0, OWN),
    ],
)
def test_the_share_grows_with_the_distance(apart, share) -> None:
    assert own_share(apart) == pytest.approx(share)


def test_statistics_are_settled_where_scans_with_labels_are_near() -> None:
    assert is_settled(SETTLED)
    assert not is_settled(SETTLED + 0.01)
    assert not is_settled(None)


@pytest.mark.parametrize(
    ("shape", "count"), [((4, 20, 6), 3), ((8, 8, 8), 1), ((40, 40, 16), WINDOWS)]
)
def test_a_few_windows_all_over_the_volume_are_looked_at(shape, count) -> None:
    image = np.arange(2 * np.prod(shape), dtype=np.float32).reshape(2, *shape) + 1
    windows = windows_to_look_at(image, (8, 8, 8))
    assert len(windows) == count
    assert {window.shape for window in windows} == {(2, 8, 8, 8)}
    seen = np.unique(np.concatenate([window[window > 0] for window in windows]))
    if count < WINDOWS:
        np.testing.assert_array_equal(seen, np.unique(image))
    else:
        assert np.isin(seen, image).all()
