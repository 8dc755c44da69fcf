from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.labels import LabelScheme, free_colour
from napari_semiseg.core.palettes import PALETTES, palette
from napari_semiseg.errors import ConfigError

# Machado, Oliveira and Fernandes, IEEE Trans. Vis. Comput. Graph. 2009, severity 1.0,
# on linear RGB.
SEEN_BY = {
    "everybody": np.eye(3),
    "deuteranopes": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "protanopes": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "tritanopes": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
EASY, ALWAYS = 12.0, 8.5
"""CIEDE2000 between the first three colours, and any two; 2.3 is just seen."""


def distances(colours: tuple[str, ...], seen_by: str) -> np.ndarray:
    from skimage.color import deltaE_ciede2000, rgb2lab

    rgb = [[int(one[at : at + 2], 16) / 255 for at in (1, 3, 5)] for one in colours]
    values = np.array(rgb)
    low = values <= 0.04045
    linear = np.where(low, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ SEEN_BY[seen_by].T, 0, 1)
    dark = seen <= 0.0031308
    seen = np.where(dark, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(seen[np.newaxis])[0]
    found = deltaE_ciede2000(lab[:, np.newaxis], lab[np.newaxis])
    np.fill_diagonal(found, np.inf)
    return found


@pytest.mark.parametrize("name", PALETTES)
@pytest.mark.parametrize("seen_by", SEEN_BY)
def test_colours_can_be_told_apart(name: str, seen_by: str) -> None:
    found = distances(palette(name), seen_by)
    assert found[:3, :3].min() > EASY
    assert found.min() > ALWAYS


def test_the_measure_finds_a_pair_that_deuteranopes_confuse() -> None:
    assert distances(("#B8860B", "#6B8E23"), "deuteranopes").min() < ALWAYS
    assert distances(("#B8860B", "#6B8E23"), "everybody").min() > 2 * ALWAYS


def test_a_scheme_takes_colours_in_its_own_order() -> None:
    scheme = LabelScheme.parse(["2=aorta #123456", "7=left atrium"])
    changed = scheme.recoloured("bright")
    assert [item.colour for item in changed] == list(palette("bright")[:2])
    assert [(item.value, item.name) for item in changed] == [
        (2, "aorta"),
        (7, "left atrium"),
    ]


@pytest.mark.parametrize("name", PALETTES)
def test_no_colour_comes_twice_among_forty_classes(name: str) -> None:
    """Those behind the palette are told apart by most people."""
    colours = tuple(free_colour(value, name) for value in range(1, 41))
    assert colours[: len(palette(name))] == palette(name)
    assert distances(colours, "everybody").min() > ALWAYS


def test_an_unknown_palette_is_named() -> None:
    with pytest.raises(ConfigError, match="okabe-ito, bright, vibrant, found 'pink'"):
        palette("pink")
