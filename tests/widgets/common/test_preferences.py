"""What a user sets: where it is kept, and what cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_semiseg.widgets.common import preferences
from napari_semiseg.widgets.common.preferences import (
    SETTINGS,
    choose,
    chosen_key,
    setting,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("own", [False, True])
def test_every_setting_is_kept(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if own:
        monkeypatch.setattr(preferences, "_of_napari", lambda: None)
    for name, first in SETTINGS.items():
        assert setting(name) is first
        choose(name, not first)
        assert setting(name) is not first


def test_naparis_preferences_hold_them_where_there_are_any(tmp_path: Path) -> None:
    settings = preferences._of_napari()
    if settings is None:
        pytest.skip("this napari has no preferences of plugins")
    choose("wheel_scrolls", False)
    assert "wheel_scrolls: false" in (tmp_path / "napari-semiseg.yaml").read_text()
    settings.keys.accept = "Y"
    assert chosen_key("accept", "A") == "Y"
    assert "panel" not in preferences.preferences().childGroups()


@pytest.mark.parametrize(
    "text",
    [
        "panel: {wheel_scrolls: {}, no_such_thing: 1}\nkeys: {accept: [1, 2]}\n",
        "panel: 3\nkeys: yes\nmore: {}\n",
        "- a list\n",
        "{ not yaml",
    ],
)
def test_what_cannot_be_read_is_as_if_it_were_not_there(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "napari-semiseg.yaml").write_text(text, encoding="utf-8")
    preferences.preferences().setValue("panel/keep_layers", "garbage")
    preferences.preferences().setValue("keys/accept", ["A", "B"])
    assert setting("wheel_scrolls") is True
    assert isinstance(setting("keep_layers"), bool)
    assert chosen_key("accept", "A") == "A"
