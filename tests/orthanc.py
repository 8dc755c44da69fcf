"""A real archive for tests: Orthanc, on this machine alone, with a password."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

PLUGINS = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "reader", "letmein"
WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Orthanc:
    """Address of its DICOMweb."""

    url: str


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def program() -> str:
    """Path of Orthanc; skips without it, but not where `.ci/run` has installed it."""
    found = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None or not PLUGINS.exists():
        reason = "no Orthanc: apt-get install orthanc orthanc-dicomweb"
        assert not os.environ.get("SEMISEG_ORTHANC"), reason
        pytest.skip(reason)
    return found


@contextmanager
def started(folder: Path) -> Iterator[Orthanc]:
    """Run an empty archive below a folder until the block ends."""
    port = _free_port()
    config = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomServerEnabled": False,
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(PLUGINS.resolve())],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    folder.mkdir(parents=True)
    settings, log = folder / "orthanc.json", folder / "log.txt"
    settings.write_text(json.dumps(config))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program(), str(settings)], stdout=output, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    ends = time.monotonic() + WAIT_S
    try:
        while not _answers(address):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends, log.read_text()
            time.sleep(0.1)
        yield Orthanc(f"{address}/dicom-web")
    finally:
        process.terminate()
        process.wait(WAIT_S)


def _answers(address: str) -> bool:
    try:
        with urlopen(f"{address}/system", timeout=2):
            return True
    except URLError as error:
        return getattr(error, "code", 0) == 401  # it asks who we are
    except OSError:
        return False
