"""Scans out of a real archive, and masks back into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

import napari_semiseg as ss
from dicom_files import SHAPE, write_oblique_series
from napari_semiseg.core.cancellation import CancellationToken
from napari_semiseg.errors import ConfigError, ProjectError
from napari_semiseg.io.dicom.web import Archive
from napari_semiseg.io.images import read_image
from napari_semiseg.project.project import Project
from orthanc import PASSWORD, USER, Orthanc, started

STUDY, SERIES = "1.2.3", "1.2.3.4"


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with started(tmp_path_factory.mktemp("archive") / "orthanc") as running:
        yield running


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMISEG_DICOMWEB_USER", USER)
    monkeypatch.setenv("SEMISEG_DICOMWEB_PASSWORD", PASSWORD)


@pytest.fixture
def archive(orthanc: Orthanc, known: None, tmp_path: Path) -> str:
    """Address of the archive, with a series of a patient who is not to be named."""
    folder = write_oblique_series(tmp_path / "scanner")
    Archive(orthanc.url).store(sorted(folder.iterdir()))
    return orthanc.url


def secrets_in(folder: Path) -> list[Path]:
    words = (PASSWORD.encode(), b"Secret^Name")
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".dcm"
        if any(word in path.read_bytes() for word in words)
    ]


def test_a_scan_comes_and_its_mask_goes_back(
    archive: str, empty_project: Project, tmp_path: Path
) -> None:
    report = ss.pull(empty_project, archive, studies=[STUDY])
    assert (report.fetched, report.present) == (SHAPE[0], 0)
    (name,) = report.added
    case = empty_project.case(name)
    scanner = read_image(tmp_path / "scanner")
    pulled = case.read_image()
    assert np.array_equal(pulled.data, scanner.data)
    assert pulled.geometry.difference(scanner.geometry) is None
    assert secrets_in(empty_project.folder) == []
    mask = (scanner.data > 700).astype(np.uint8)
    empty_project.set_label(case, mask)
    stored = ss.push(empty_project, archive).stored
    assert list(stored) == [name]
    found = Archive(archive).find_series({"StudyInstanceUID": STUDY})
    (series,) = (one for one in found if one.modality == "SEG")
    assert Archive(archive).instances(series) == [stored[name]]
    seg = tmp_path / "masks" / "seg.dcm"
    Archive(archive).fetch(series, stored[name], seg)
    referenced = pydicom.dcmread(seg).ReferencedSeriesSequence[0].SeriesInstanceUID
    assert referenced == SERIES
    again = Project.create(tmp_path / "again", {"left atrium": 1})
    again.add(empty_project.folder / "dicom" / name)
    from napari_semiseg.project.importing.match_masks import attach

    attach(again, seg.parent)
    assert np.array_equal(again.case(name).read_label(), mask)
    # what is no scan is not pulled, and what is here is not fetched again
    second = ss.pull(empty_project, archive, query={"PatientID": "S1"})
    assert (second.fetched, second.present, second.added) == (0, SHAPE[0], [])


def test_an_interrupted_pull_goes_on(archive: str, empty_project: Project) -> None:
    asked = iter(range(SHAPE[0]))
    token = CancellationToken(lambda: next(asked) == 5)
    steps: list[tuple[int, int]] = []
    report = ss.pull(
        empty_project,
        archive,
        series=[SERIES],
        cancellation=token,
        progress=lambda *step: steps.append(step),
    )
    assert report.stopped
    assert (report.fetched, report.added) == (5, [])
    assert steps[-1] == (5, SHAPE[0])
    assert list(report.skipped.values()) == [
        "not all of it was fetched; pull once more"
    ]
    assert empty_project.cases() == []
    rest = ss.pull(empty_project, archive, series=[SERIES])
    assert (rest.fetched, rest.present) == (SHAPE[0] - 5, 5)
    assert rest.added == [case.id for case in empty_project.cases()]


def test_who_is_not_let_in_is_told_what_to_do(
    orthanc: Orthanc, empty_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEMISEG_DICOMWEB_USER", raising=False)
    monkeypatch.setenv("SEMISEG_DICOMWEB_TOKEN", "wrong")
    with pytest.raises(ProjectError, match=r"HTTP 401; set SEMISEG_DICOMWEB_TOKEN"):
        ss.pull(empty_project, orthanc.url, studies=[STUDY])
    with pytest.raises(ConfigError, match="expected https for a password or token"):
        ss.pull(empty_project, "http://pacs.example.org/dicom-web", studies=[STUDY])
    with pytest.raises(ConfigError, match="without user and password"):
        ss.pull(empty_project, "https://a:b@pacs.example.org/", studies=[STUDY])
    with pytest.raises(ConfigError, match=r"expected an address as https"):
        ss.pull(empty_project, "pacs", studies=[STUDY])
    assert not (empty_project.folder / "dicom").exists()


def test_the_keyring_knows_who_it_is(
    archive: str, empty_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyring
    from keyring.credentials import SimpleCredential

    monkeypatch.delenv("SEMISEG_DICOMWEB_USER")
    asked: list[str] = []

    def credential(service: str, _user: None) -> SimpleCredential:
        asked.append(service)
        return SimpleCredential(USER, PASSWORD)

    monkeypatch.setattr(keyring, "get_credential", credential)
    assert ss.pull(empty_project, archive, series=[SERIES]).added
    assert asked == [f"semiseg-dicomweb:{archive}"]


@pytest.mark.usefixtures("known")
def test_what_is_not_there_is_one_line(
    orthanc: Orthanc, archive: str, empty_project: Project
) -> None:
    with pytest.raises(ProjectError, match="that match, found none"):
        ss.pull(empty_project, archive, studies=["9.9.9"])
    with pytest.raises(ConfigError, match="expected --study, --series or --query"):
        ss.pull(empty_project, archive)
    with pytest.raises(ProjectError, match="expected an archive that answers"):
        ss.pull(empty_project, "http://127.0.0.1:9/dicom-web", studies=[STUDY])
    nowhere = archive.replace("dicom-web", "nowhere")
    with pytest.raises(ProjectError, match="HTTP 404"):
        ss.pull(empty_project, nowhere, studies=[STUDY])


def test_the_verbs(archive: str, empty_project: Project, semiseg) -> None:
    place, words = empty_project.folder, ("--dicomweb", archive)
    query = f"SeriesInstanceUID={SERIES}"
    answer = semiseg("pull", place, *words, "--query", query, "--json")
    (name,) = answer.json["added"]
    case = empty_project.case(name)
    empty_project.set_label(case, np.ones(case.geometry.shape_zyx, np.uint8))
    pushed = semiseg("push", place, *words, "--case", name, "--json")
    assert list(pushed.json["stored"]) == [name]
    assert "expected --query key=value" in (
        semiseg("pull", place, *words, "--query", "x").refusal
    )
