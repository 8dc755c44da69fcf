"""Names in tables that are too narrow for them."""

from __future__ import annotations

import pytest
from qtpy.QtGui import QFont, QFontMetrics
from qtpy.QtWidgets import QApplication

from napari_semiseg.core.text import shared_ends
from napari_semiseg.widgets.elements.tables import short_name

pytestmark = pytest.mark.gui

HEARTS = [f"patient{one:03}_frame{two:02}" for one in (4, 47, 99) for two in (1, 12)]
BIDS = [f"sub-{one:04}_ses-01_acq-sag_T1w" for one in (1, 12, 345)]


@pytest.fixture
def letters(qapp: QApplication) -> QFontMetrics:
    return QFontMetrics(QFont())


@pytest.mark.parametrize(
    ("names", "shown"),
    [(HEARTS, "\u2026004_frame01"), (BIDS, "\u20260012\u2026")],
)
def test_names_can_be_told_apart_in_a_narrow_column(
    names: list[str], shown: str, letters: QFontMetrics
) -> None:
    room = letters.horizontalAdvance(shown)
    ends = shared_ends(names)
    short = [short_name(name, ends, letters, room) for name in names]
    assert all(letters.horizontalAdvance(one) <= room for one in short)
    assert len(set(short)) == len(names)


def test_what_is_shared_goes_first_and_only_where_it_must(
    letters: QFontMetrics,
) -> None:
    ends, whole = shared_ends(HEARTS), HEARTS[0]
    wide = letters.horizontalAdvance(whole)
    assert short_name(whole, ends, letters, wide) == whole
    assert short_name(whole, ends, letters, wide - 1) == "\u2026004_frame01"
    ends, whole = shared_ends(BIDS), BIDS[1]
    room = letters.horizontalAdvance("\u20260012\u2026")
    assert short_name(whole, ends, letters, room) == "\u20260012\u2026"
