from __future__ import annotations

import pytest

from napari_semiseg.core.text import count, duration, listed, millilitres


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.4, "4 s"), (75, "75 s"), (90, "2 min"), (3600, "60 min"), (7200, "2.0 h")],
)
def test_durations_are_told_as_a_person_would(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_nouns_follow_their_number() -> None:
    assert [count(n, "case") for n in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]


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
