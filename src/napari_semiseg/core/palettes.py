"""Colours that people with any colour vision can tell apart."""

from __future__ import annotations

from napari_semiseg.errors import ConfigError

PALETTES = {
    "okabe-ito": (
        "#E69F00",
        "#56B4E9",
        "#009E73",
        "#F0E442",
        "#CC79A7",
        "#D55E00",
        "#0072B2",
    ),
    "bright": ("#EE6677", "#66CCEE", "#CCBB44", "#4477AA", "#AA3377", "#228833"),
    "vibrant": ("#EE7733", "#0077BB", "#33BBEE", "#EE3377", "#CC3311", "#009988"),
}
"""Strongest on grey images first. Okabe and Ito, Color Universal Design (2008); Tol,
Colour Schemes, SRON/EPS/TN/09-002 (2021)."""

DEFAULT = "okabe-ito"


def palette(name: str) -> tuple[str, ...]:
    """Colours of a palette as ``#RRGGBB``.

    Raises
    ------
    ConfigError
        There is none of this name.
    """
    if name not in PALETTES:
        raise ConfigError(
            f"expected a palette of {', '.join(PALETTES)}, found {name!r}"
        )
    return PALETTES[name]
