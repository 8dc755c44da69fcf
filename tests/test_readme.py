"""What the documents say is true of the product."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
import sys
from configparser import ConfigParser
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
SMALL = {
    "width": 4,
    "labelled_batch": 1,
    "unlabelled_batch": 1,
    "patch_zyx": [16, 16, 16],
}
SMALL_FLAGS = [f"--set={key}={value}" for key, value in SMALL.items()]
SMALL_CODE = ", ".join(f"{key}={value}" for key, value in SMALL.items())


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


def python_block(text: str) -> str:
    (found,) = blocks(text, "python")
    return found


def commands(text: str, program: str) -> list[list[str]]:
    """Every use of a program, in blocks and in running text, split as a shell does."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    lines += re.findall(rf"`({program} [^`]+)`", re.sub(r"\s+", " ", text))
    found = []
    for line in lines:
        for part in re.split(r"&&|;|\s# ", line):
            words = shlex.split(part)
            if words[:1] == [program]:
                found.append(words[1:])
    return found


def make_cohort(folder: Path) -> None:
    """Six noisy scans of a bright ball, two of them with a mask."""
    rng = np.random.default_rng(0)
    for name in ("scans", "masks", "references"):
        (folder / name).mkdir()
    for number in range(1, 7):
        position = np.indices((28, 30, 26)).T.T
        centre = rng.uniform(11, 16, 3)[:, None, None, None]
        ball = np.linalg.norm(position - centre, axis=0) < rng.uniform(5, 8)
        image = (100 * ball + rng.normal(0, 20, ball.shape)).astype(np.int16)
        affine = np.diag([1.0, 1.0, 1.5, 1.0])
        file = f"patient_{number:02d}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(image, affine), folder / "scans" / file)
        mask = nibabel.Nifti1Image(ball.astype(np.uint8), affine)
        nibabel.save(mask, folder / "references" / file)
        if number <= 2:
            nibabel.save(mask, folder / "masks" / file)


def test_readme_keeps_its_order() -> None:
    found = [
        README.index(part)
        for part in (
            "# napari-semiseg",
            "](docs/pictures/loop.webp)",
            "\n- **",
            "## Two commands",
            "## First mask in five minutes: in the panel",
            "## The same on the command line",
            "## The same in Python",
            "## Methods",
            "## The project folder",
            "## Limits",
            "## Contributing",
            "## Citation",
        )
    ]
    assert found == sorted(found)
    assert len(re.findall(r"^- \*\*", README[: README.index("## Two")], re.M)) == 5


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", read(path)):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_verbs_and_flags_exist(path: Path) -> None:
    from typer.main import get_command

    from napari_semiseg.cli.app import app

    verbs = get_command(app).commands  # type: ignore[attr-defined]
    for words in commands(read(path), "semiseg"):
        if words[0].startswith("-"):
            assert words == ["--help"]
            continue
        assert words[0] in verbs, words
        known = {flag for option in verbs[words[0]].params for flag in option.opts}
        used = {word for word in words[1:] if re.match(r"--?[a-z]", word)}
        assert used <= known | {"--help"}, words


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_test_environments_exist(path: Path) -> None:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    for words in commands(read(path), "tox"):
        if "-e" in words:
            for name in words[words.index("-e") + 1].split(","):
                assert f"testenv:{name}" in tox, words


def test_extras_exist() -> None:
    import tomllib

    extras = tomllib.loads(read(ROOT / "pyproject.toml"))["project"][
        "optional-dependencies"
    ]
    texts = [read(path) for path in (*DOCUMENTS, *(ROOT / "src").rglob("*.py"))]
    named = re.findall(r"(?:napari-semiseg|\"\.)\[([a-z,-]+)\]", "\n".join(texts))
    assert named
    assert {extra for group in named for extra in group.split(",")} <= set(extras)


def test_the_citation_file_is_of_this_version() -> None:
    import tomllib

    version = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["version"]
    assert f"\nversion: {version}\n" in read(ROOT / "CITATION.cff")


def test_the_messages_that_are_explained_are_those_of_the_program() -> None:
    guide = read(ROOT / "docs" / "troubleshooting.md")
    explained = re.findall(r"^\| `(.+?)` \|", guide, flags=re.M)
    assert len(explained) > 20
    messages = "\n".join(
        "\N{HORIZONTAL ELLIPSIS}".join(
            part.value for part in getattr(node, "values", [node]) if is_text(part)
        )
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(read(path)))
        if isinstance(node, ast.JoinedStr) or is_text(node)
    )
    for message in explained:
        parts = map(re.escape, message.split("\N{HORIZONTAL ELLIPSIS}"))
        assert re.search(".*".join(parts), messages), message


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_the_table_of_settings_is_complete() -> None:
    from napari_semiseg.core.config import TrainingConfig

    options = {"method", "params", "minutes", "steps", "device", "seed", "start_from"}
    options |= {"architecture"}
    guide = read(ROOT / "docs" / "training.md")
    rows = re.findall(
        r"^\| `(\w+)` \| (?:`(.+?)`|planned|as published) \|", guide, flags=re.M
    )
    fields = TrainingConfig.model_fields
    assert [name for name, _ in rows] == [
        name for name in fields if name not in options
    ]
    for name, said in rows:
        default = fields[name].default
        assert said == ("" if default is None else str(default)), name


@pytest.mark.engine
def test_the_methods_table_is_that_of_the_engine() -> None:
    from napari_semiseg.engine import method_specs

    rows = [f"| `{one.name}` | {one.title} | {one.cite} |" for one in method_specs()]
    table = "\n".join(["| name | method | source |", "|---|---|---|", *rows])
    assert f"<!-- methods:begin -->\n{table}\n<!-- methods:end -->" in README, table


@pytest.mark.engine
def test_the_command_line_example_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_semiseg.cli import main

    make_cohort(tmp_path)
    monkeypatch.chdir(tmp_path)
    section = README[README.index("## The same on the command line") :]
    for words in commands(blocks(section, "sh")[0].join(["```sh\n", "```"]), "semiseg"):
        if words[0] == "train":
            words = [*words[:2], "--steps", "4", *SMALL_FLAGS]
        monkeypatch.setattr(sys, "argv", ["semiseg", *words])
        with pytest.raises(SystemExit) as ending:
            main()
        assert not ending.value.code, words
    delivered = sorted(path.name for path in (tmp_path / "delivery").rglob("*.nii.gz"))
    assert delivered == [f"patient_{number:02d}.nii.gz" for number in range(1, 7)]
    assert (tmp_path / "delivery" / "volumes.csv").is_file()


@pytest.mark.engine
def test_the_python_example_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_cohort(tmp_path)
    monkeypatch.chdir(tmp_path)
    code = python_block(README)
    assert "minutes=20" in code
    code = code.replace("minutes=20", f"steps=4, {SMALL_CODE}")
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    runpy.run_path("example.py", run_name="__main__")
    said = capsys.readouterr().out
    assert re.search(r"patient_06 \{'left atrium': [\d.]+\}", said)
    assert (tmp_path / "delivery" / "manifest.json").is_file()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all examples: the second finds the patients of the first."""
    return tmp_path_factory.mktemp("demo")


@pytest.mark.engine
@pytest.mark.parametrize("name", sorted(path.name for path in ROOT.glob("examples/*")))
def test_examples_run(
    demo: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("nilearn", reason="the demo extra is not installed")
    import napari_semiseg as ss

    small = partial(
        ss.TrainingConfig, width=4, spacing_mm=(3, 3, 3), patch_zyx=(16, 16, 16)
    )
    monkeypatch.setattr(ss, "TrainingConfig", small)
    script = str(ROOT / "examples" / name)
    words = [script, str(demo), "--steps", "3", "--patients", "4"]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(script, run_name="__main__")
    assert "patient_0" in capsys.readouterr().out
