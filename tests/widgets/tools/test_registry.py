"""Mask tools and actions of other packages, as the guide describes them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.errors import SemisegError
from napari_semiseg.imaging.mask_encoding import MaskEncoding
from napari_semiseg.widgets.elements.actions import short
from napari_semiseg.widgets.elements.connections import Connections
from napari_semiseg.widgets.review.actions import review_actions
from napari_semiseg.widgets.review.panel import ReviewPanel
from napari_semiseg.widgets.tools.operations import BUILT_IN, tools
from napari_semiseg.widgets.tools.registry import Inputs, Tool
from widgets.viewing import press

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.canvas.case_view import CaseView
    from napari_semiseg.widgets.common.session import Session

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "adding-a-tool.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.S)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages on the path: those that the guide describes."""
    folder = tmp_path / "site"
    info = folder / "toys-1.0.dist-info"
    info.mkdir(parents=True)
    tool, action = blocks("python")
    (folder / "cut_bridges.py").write_text(tool, encoding="utf-8")
    (folder / "show_middle.py").write_text(action, encoding="utf-8")
    (info / "METADATA").write_text("Name: toys\nVersion: 1.0\n")
    (toml,) = blocks("toml")
    groups = tomllib.loads(toml)["project"]["entry-points"]
    lines = [
        line
        for group, names in groups.items()
        for line in (f"[{group}]", *(f"{key}={value}" for key, value in names.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def with_toys(
    site: Path, session: Session, view: CaseView, qtbot: QtBot
) -> Iterator[ReviewPanel]:
    made = ReviewPanel(session, view, review_actions())
    made.show()
    yield made
    Connections.close_below(made)
    made.close()
    made.deleteLater()


def test_a_tool_of_another_package_is_previewed_and_one_undo_step(
    with_toys: ReviewPanel, view: CaseView, project: Project, qtbot: QtBot
) -> None:
    label = np.zeros(project.case("case_0").geometry.shape_zyx, np.uint8)
    label[2:7, 2:8, 2:6] = 1
    label[2:7, 2:8, 10:14] = 1
    label[4, 4, 6:10] = 1  # the bridge
    project.set_label("case_0", label)
    view.open("case_0")
    panel = with_toys.tool_panel
    panel.clean_up.aboutToShow.emit()
    entries = [entry.text() for entry in panel.clean_up.actions()]
    assert any(text.startswith("Cut bridges") for text in entries)
    press(view, "Shift-B")
    assert panel.tool is not None
    assert panel.tool.id == "cut_bridges"
    assert (panel.amount.value(), panel.amount.suffix()) == (1.0, " mm")
    qtbot.waitUntil(
        lambda: "outline shows the result" in panel.text.text(), timeout=30_000
    )
    assert panel.preview.lines
    assert np.array_equal(view.mask.data, label)
    press(view, "U")
    changed = view.mask.data != label
    assert changed[4, 4, 7:9].all()
    assert np.count_nonzero(view.mask.data) > 0.8 * np.count_nonzero(label)
    view.mask.undo()
    assert np.array_equal(view.mask.data, label)
    panel.choose("cut_bridges")
    panel.amount.setValue(10)
    qtbot.waitUntil(lambda: "wider than 20" in panel.text.text(), timeout=30_000)


def test_an_action_of_another_package_has_button_key_and_help(
    with_toys: ReviewPanel, view: CaseView
) -> None:
    view.open("case_0")
    press(view, "Shift-M")
    assert view.slice_index == 5
    view.go_to(0, 2)
    entry = with_toys.menu_actions["show_middle"]
    assert entry.text() == "Middle\t\u21e7M"
    entry.trigger()
    assert view.slice_index == 5
    sheet = with_toys.shortcut_sheet()
    assert sheet.fields["show_middle"].text() == "\u21e7M"
    assert "cut_bridges" in sheet.fields
    sheet.deleteLater()


def test_what_is_broken_or_taken_is_left_out_with_a_warning(site: Path) -> None:
    (site / "toys-1.0.dist-info" / "entry_points.txt").write_text(
        "[napari_semiseg.tools]\nbroken = absent:TOOL\nother = show_middle:ACTION\n"
        "twin = twin:TOOL\n"
    )
    (site / "twin.py").write_text(
        "from napari_semiseg.widgets.tools.registry import Tool\n"
        "TOOL = Tool('fill_holes', 'Twin', '', lambda inputs, amount: inputs.mask)\n"
    )
    with pytest.warns(UserWarning, match="is left out") as warned:
        assert tools() == BUILT_IN
    texts = [str(warning.message) for warning in warned]
    assert len(texts) == 3
    assert "No module named 'absent'" in texts[0]
    assert "expected a Tool, found Action" in texts[1]
    assert "belongs to 'Fill holes'" in texts[2]


def test_a_tool_that_returns_no_mask_is_refused() -> None:
    mask = np.zeros((2, 3, 4), np.uint8)
    encoding = MaskEncoding(LabelScheme.parse(["1=a"]))
    inputs = Inputs(mask, encoding, 1, frozenset(), (1.0, 1.0, 1.0), mask)
    for wrong in (mask[0], mask.astype(bool)):
        tool = Tool("wrong", "Wrong", "", lambda *_, wrong=wrong: wrong)
        with pytest.raises(SemisegError, match=r"Wrong: expected a mask of shape"):
            tool.run(inputs, 0)


def test_the_guide_lists_all_tools() -> None:
    rows = [
        f"| {tool.title} | {f'`{short(tool.key)}`' if tool.key else ''} | {tool.text} |"
        for tool in BUILT_IN
    ]
    table = "\n".join(["| tool | key | what it does |", "|---|---|---|", *rows])
    guide = (DOCS / "annotating.md").read_text(encoding="utf-8")
    assert f"<!-- tools:begin -->\n{table}\n<!-- tools:end -->" in guide, table
