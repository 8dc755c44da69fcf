"""Marks by folder, so that each test environment can pick what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(_HERE).parts[0]
        if folder == "widgets":
            item.add_marker(pytest.mark.gui)
        if folder == "engine":
            item.add_marker(pytest.mark.engine)
