"""Folders that a program keeps in step with a cloud."""

from __future__ import annotations

import pytest

from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.project.cloud_folder import cloud_warning, synchronised_by
from napari_semiseg.project.doctor import check_project
from napari_semiseg.project.project import Project


@pytest.mark.parametrize(
    ("folder", "program"),
    [
        ("OneDrive/p", "OneDrive"),
        ("OneDrive - University of X/scans/p", "OneDrive"),
        ("Library/CloudStorage/OneDrive-Personal/p", "OneDrive"),
        ("Dropbox (Lab)/p", "Dropbox"),
        ("GoogleDrive-me@x.org/My Drive/p", "Google Drive"),
        ("Library/Mobile Documents/com~apple~CloudDocs/p", "iCloud"),
        ("Nextcloud2/p", "Nextcloud"),
        ("Box/p", "Box"),
        ("Boxes/onedrive/p", ""),
    ],
)
def test_a_folder_is_known_by_its_name(tmp_path, folder, program) -> None:
    assert synchronised_by(tmp_path / folder) == program


@pytest.mark.parametrize(
    ("mark", "program"),
    [
        (".dropbox.cache", "Dropbox"),
        (".tmp.driveupload", "Google Drive"),
        (".849C9593-D756-4E56-8D6E-42412F2A707B", "OneDrive"),
        (".sync_0f1e.db", "Nextcloud"),
    ],
)
def test_a_folder_is_known_by_hidden_files(tmp_path, mark, program) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert synchronised_by(below) == ""
    assert cloud_warning(below) == ""
    (tmp_path / mark).touch()
    assert synchronised_by(below) == program


def test_a_project_in_such_a_folder_is_a_finding(tmp_path) -> None:
    folder = tmp_path / "Dropbox" / "p"
    Project.create(folder, LabelScheme.parse(["1=heart"]))
    (found,) = check_project(folder).findings
    assert (found.kind, found.mendable) == ("folder", False)
    assert "Dropbox keeps this folder in step with a cloud" in found.problem
