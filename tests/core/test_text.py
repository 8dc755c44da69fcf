from __future__ import annotations

import pytest

from napari_semiseg.core.text import count, duration, listed, millilitres, shared_ends


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.4, "4 s"), (75, "75 s"), (90, "2 min"), (3600, "60 min"), (7200, "2.0 h")],
)
def test_durations_are_told_as_a_person_would(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_nouns_follow_their_number() -> None:
    words = [count(n, "case") for n in (0, 1, 2, 1000)]
    assert words == ["0 cases", "1 case", "2 cases", "1,000 cases"]


def test_of_many_names_only_the_first_are_told() -> None:
    assert listed(("a", "b"), 2) == "a, b"
    assert listed(("a", "b", "c", "d"), 2) == "a, b and 2 more"


def test_volumes_have_digits_that_suit_their_size() -> None:
    given = (0.0, 0.000003375, 0.0342, 0.99, 1.26, 240.04)
    assert [millilitres(ml) for ml in given] == [
        "0.0",
        "0.0000034",
        "0.034",
        "0.99",
        "1.3",
        "240.0",
    ]
    assert [millilitres(ml, 0.02) for ml in (24.31, 24.33)] == ["24.310", "24.330"]


@pytest.mark.parametrize(
    ("names", "ends"),
    [
        (["patient004_frame01", "patient099_frame01", "patient047_frame09"], (7, 0)),
        (["sub-01_ses-1_T1w", "sub-12_ses-1_T1w"], (4, 10)),
        (["HQ7X", "AB2"], (0, 0)),
        (["ab", "ab_ab"], (2, 0)),
        (["la_la", "la"], (2, 0)),
        (["scan_1"], (0, 0)),
        (["scan_1", "scan_1"], (0, 0)),
        ([], (0, 0)),
    ],
)
def test_names_share_ends_without_parts_of_numbers(
    names: list[str], ends: tuple[int, int]
) -> None:
    assert shared_ends(names) == ends
