"""Recognise folders that a program keeps in step with a cloud."""

from __future__ import annotations

import re
from pathlib import Path

BY_NAME = {
    "OneDrive": r"OneDrive([ -].*)?",
    "Dropbox": r"Dropbox([ -].*)?",
    "Google Drive": r"Google ?Drive(-.*)?|GoogleDrive-.*|My Drive",
    "iCloud": r"Mobile Documents|iCloud ?Drive|com~apple~CloudDocs",
    "Nextcloud": r"Nextcloud\d*|ownCloud\d*",
    "Box": r"Box( Sync|-Box)?",
}
"""Programs by the names that they give to their folders."""
BY_MARK = {
    "Dropbox": (".dropbox", ".dropbox.cache"),
    "Google Drive": (".tmp.drivedownload", ".tmp.driveupload"),
    "OneDrive": (".849C9593-D756-4E56-8D6E-42412F2A707B",),
    "Nextcloud": (".sync_*.db", "._sync_*.db", ".owncloudsync.log"),
}
"""Programs by the hidden files in their folders, whatever those are called."""


def synchronised_by(folder: Path) -> str:
    """Name the program that keeps a folder in step; empty where none is known."""
    for place in (folder, *folder.parents):
        for program, name in BY_NAME.items():
            if re.fullmatch(name, place.name):
                return program
        for program, marks in BY_MARK.items():
            if any(next(place.glob(mark), None) is not None for mark in marks):
                return program
    return ""


def cloud_warning(folder: Path) -> str:
    """Say what can happen to a project in such a folder; empty elsewhere."""
    program = synchronised_by(folder)
    if not program:
        return ""
    return (
        f"{folder}: {program} keeps this folder in step with a cloud, and may hold "
        "back, undo or double files while a training writes; move the project "
        "elsewhere, or pause it"
    )
