"""Assistants by name: this package's, and those of other packages."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from napari_semiseg.assistants.registry import ASSISTANTS, DEFAULT, assistants, register
from napari_semiseg.errors import ConfigError
from outside_package import install

PAGE = Path(__file__).parents[2] / "docs" / "adding-an-assistant.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.S)


def test_the_default_comes_first() -> None:
    assert next(iter(assistants())) == DEFAULT
    assert set(assistants()) == {"geodesic", "grow", "nninteractive"}


def test_a_name_belongs_to_one_assistant() -> None:
    assistants()
    with pytest.raises(ConfigError, match="one assistant called 'grow', found two"):

        @register
        class Mine:
            name = "grow"

    assert type(ASSISTANTS.find("grow")).__module__.startswith("napari_semiseg.")


def test_the_page_lists_all_assistants() -> None:
    rows = [
        f"| `{one.name}` | {one.title} | {', '.join(sorted(one.takes))} | {one.hint} |"
        for one in assistants().values()
    ]
    table = "\n".join(
        ["| name | title | takes | give it |", "|---|---|---|---|", *rows]
    )
    marked = f"<!-- assistants:begin -->\n{table}\n<!-- assistants:end -->"
    assert marked in TEXT, table


def test_the_page_runs_and_its_assistant_is_found_in_another_package(
    tmp_path, ball_project
) -> None:
    whole, used = blocks("python")
    (toml,) = blocks("toml")
    ((group, names),) = tomllib.loads(toml)["project"]["entry-points"].items()
    ((_, module),) = names.items()
    env = install(tmp_path / "site", group, whole, module)
    code = (
        "import sys, numpy as np\n"
        "from napari_semiseg.project.project import Project\n"
        f"project = Project.open({str(ball_project.folder)!r})\n"
        "image = np.zeros((24, 24, 24))\n"
        f"{used}\n"
        "print(mask.shape, bool(mask[12, 12, 12]), bool(mask[0, 0, 0]))\n"
        "print(sorted({'torch', 'qtpy', 'napari'} & set(sys.modules)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.split("\n")[:2] == ["(24, 24, 24) True False", "[]"], (
        found.stdout + found.stderr
    )
    assert "ball" not in assistants()
