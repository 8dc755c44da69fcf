"""doctor: check this machine and installation, or a project folder."""

from __future__ import annotations

import platform
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_semiseg.cli import options, render
from napari_semiseg.cli.errors import REFUSED
from napari_semiseg.cli.gui import has_display
from napari_semiseg.errors import ConfigError, EngineMissing

NEEDED = ("numpy", "scipy", "edt", "nibabel", "SimpleITK", "pydantic", "scikit-image")
DAMAGED = (KeyError, TypeError, ValueError, OSError)
"""What reading the metadata of a damaged installation raises."""
QT_BINDINGS = ("PyQt6", "PySide6", "PyQt5")


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report; ``fix`` says what to do where it is not ok."""

    name: str
    ok: bool
    found: str
    fix: str = ""


def doctor(
    project: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PROJECT]", help="A project to check, instead of this machine."
        ),
    ] = None,
    mend: Annotated[
        bool,
        typer.Option("--mend", help="Mend what can be mended; no mask is deleted."),
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --mend: where moved images are now."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Check this machine and installation, or a project folder."""
    if project is not None:
        _check_project(project, mend, images, json)
        return
    if mend or images is not None:
        raise ConfigError(
            "expected a project to mend, found none; give its folder: semiseg doctor "
            "PROJECT --mend"
        )
    torch, devices = _engine()
    checks = [
        _python(),
        *map(_package, NEEDED),
        _package("napari", "pip install 'napari[all]'"),
        _qt(),
        _display(),
        torch,
        _package(
            "nilearn", "only semiseg demo needs it: pip install 'napari-semiseg[demo]'"
        ),
        _writable(),
    ]
    if json:
        render.emit(
            {
                "checks": [asdict(check) for check in checks],
                "devices": devices,
                "platform": platform.platform(),
                "version": metadata.version("napari-semiseg"),
            }
        )
        return
    render.table(
        {
            "check": check.name,
            "": "ok" if check.ok else "missing",
            "found": check.found,
            "to do": check.fix,
        }
        for check in checks
    )
    for device in devices:
        memory = device["memory_gb"]
        size = "" if memory is None else f", {memory:.0f} GB"
        render.say(f"device {device['name']}: {device['title']}{size}")
    missing = [check.name for check in checks if not check.ok]
    render.say(f"Missing: {', '.join(missing)}." if missing else "Everything is there.")


def _check_project(project: Path, mend: bool, images: Path | None, json: bool) -> None:
    """Report what is wrong with a project; exit with 1 while something is."""
    from napari_semiseg.project.doctor import ASIDE, check_project

    if images is not None and not mend:
        raise ConfigError("expected --mend beside --images, found none; add it")
    found = check_project(project, mend=mend, images=images)
    if json:
        render.emit(
            {
                "project": str(found.project),
                "cases": found.cases,
                "runs": found.runs,
                "findings": [asdict(item) for item in found.findings],
                "open": len(found.open),
            }
        )
    else:
        for item in found.findings:
            state = "Mended" if item.mended else "Found"
            render.say(f"{state} {item.path}: {item.problem}")
            prefix = "mending: it " if item.mendable and not item.mended else ""
            if item.remedy:
                render.say(f"   {prefix}{item.remedy}")
        mended = len(found.findings) - len(found.open)
        render.say(
            f"{found.cases} cases and {found.runs} runs checked: {mended} mended, "
            f"{len(found.open)} open."
        )
        if any(item.mendable for item in found.open):
            render.say(
                f"Mend with: semiseg doctor {project} --mend (what cannot be used is "
                f"moved to the folder {ASIDE})"
            )
    if found.open:
        raise typer.Exit(REFUSED)


def _python() -> Check:
    ok = sys.version_info >= (3, 11)
    return Check("Python", ok, platform.python_version(), "" if ok else "use 3.11+")


def _package(name: str, fix: str = "") -> Check:
    fix = fix or f"pip install {name}"
    try:
        found = metadata.version(name)
    except (metadata.PackageNotFoundError, *DAMAGED):
        found = None  # as where its metadata has no version
    return Check(name, found is not None, found or "-", fix * (found is None))


def _qt() -> Check:
    found = next((name for name in QT_BINDINGS if util.find_spec(name)), None)
    fix = "" if found else "pip install 'napari[all]'"
    return Check("Qt", found is not None, found or "-", fix)


def _display() -> Check:
    ok = has_display()
    fix = "" if ok else "only the panel needs one; all other verbs work"
    return Check("display", ok, "there" if ok else "-", fix)


def _writable() -> Check:
    folder = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile():
            return Check("temporary files", True, folder)
    except OSError as error:
        return Check("temporary files", False, str(error), "free space, or set TMPDIR")


def _engine() -> tuple[Check, list[dict[str, Any]]]:
    """Whether PyTorch loads, and where it can train; nowhere without it."""
    check = _package("torch", "pip install 'napari-semiseg[engine]'")
    if util.find_spec("torch") is None:
        return check, []
    from napari_semiseg import engine

    try:
        return check, [asdict(device) for device in engine.describe_devices()]
    except EngineMissing as error:
        found, _, fix = str(error).rpartition("; ")
        return Check("torch", False, found, fix), []
