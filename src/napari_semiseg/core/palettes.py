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

# fmt: off
MORE = (
    "#92FFDB", "#FFDBFF", "#6D00FF", "#FFDBB6", "#24DB00", "#DB24FF", "#6D6D00",
    "#924949", "#9292FF", "#FFB6B6", "#006D6D", "#6D4992", "#92B692", "#929249",
    "#926D49", "#00DBDB", "#FF92FF", "#926D92", "#006D49", "#B6DB6D", "#0092B6",
    "#00DB92", "#FF00B6", "#FF92B6", "#924900", "#92FF92", "#9249FF", "#FFB692",
    "#2449DB", "#496D24", "#B6926D", "#6DB649", "#B600B6", "#6D6DDB", "#6DB6B6",
    "#B692DB",
)
# fmt: on
"""Colours behind those of a palette, for many classes. Each was chosen as the farthest
from all before it (CIEDE2000 of at least 10); people who confuse red with green may
take some for each other."""

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
