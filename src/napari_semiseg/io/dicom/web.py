"""Talk to an archive by DICOMweb: search it, fetch from it, store in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from napari_semiseg.errors import ConfigError, ImageError, ProjectError
from napari_semiseg.io.atomic import atomic_path

TOKEN, USER, PASSWORD = (
    f"SEMISEG_DICOMWEB_{part}" for part in ("TOKEN", "USER", "PASSWORD")
)
KEYRING = "semiseg-dicomweb"
"""Name of the service in the keyring, before the archive's address."""
NOT_IMAGES = frozenset({"SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "PR", "KO", "REG"})
"""Modalities of series that hold no scan."""
FIRST_ATTEMPTS, ATTEMPTS = 2, 5
"""To ask an archive that has not answered yet, whose address may be wrong, and one that
has: the waits between them, twice as long each time, come to 2 and 30 seconds."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
HINTS = {
    401: f"set {TOKEN}, or {USER} and {PASSWORD}, or store them in the keyring",
    403: "ask who runs the archive for the right to do this",
    404: "check the address and the UIDs",
}
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class RemoteSeries:
    """A series in an archive, without anything that names the patient."""

    study: str
    uid: str
    number: str
    modality: str
    description: str


class Archive:
    """An archive at an address, as ``https://pacs.example.org/dicom-web``.

    The credentials are read from the environment (`TOKEN`, or `USER` and `PASSWORD`),
    else from the system's keyring; nothing of it is ever written.

    Raises
    ------
    ConfigError
        The address cannot be used, or ``dicomweb-client`` is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from dicomweb_client import DICOMwebClient
            from requests import Session
        except ImportError as error:
            raise ConfigError(
                f"expected dicomweb-client for an archive, found '{error}'; run: pip "
                f"install 'napari-semiseg[dicomweb]'"
            ) from error
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"expected an address as https://HOST/dicom-web, found {url!r}"
            )
        if parts.username or parts.password:
            raise ConfigError(
                f"expected an address without user and password, which others can read "
                f"from the command line; set {USER} and {PASSWORD} instead"
            )
        session = Session()
        session.trust_env = False  # else ~/.netrc decides who it is
        _let_in(session, url.rstrip("/"))
        secret = session.auth or "Authorization" in session.headers
        if secret and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise ConfigError(
                f"expected https for a password or token, found {parts.scheme}: others "
                f"on the network could read it; use the address with https"
            )
        self._client: Any = DICOMwebClient(url.rstrip("/"), session=session)
        self._client.set_http_retry_params(max_attempts=FIRST_ATTEMPTS)
        self.url = url

    def find_series(self, filters: Mapping[str, str]) -> list[RemoteSeries]:
        """Find the series that match attributes, as ``PatientID`` or ``StudyDate``.

        Raises
        ------
        ProjectError
            The archive does not answer, or refuses.
        """
        with self._answers():
            found = self._client.search_for_series(
                search_filters=dict(filters),
                fields=["SeriesDescription", "Modality", "SeriesNumber"],
                get_remaining=False,
            )
        series = [
            RemoteSeries(
                study=_uid(_value(item, "0020000D")),
                uid=_uid(_value(item, "0020000E")),
                number=_value(item, "00200011"),
                modality=_value(item, "00080060"),
                description=_value(item, "0008103E"),
            )
            for item in found
        ]
        return sorted(series, key=lambda one: (one.study, one.number, one.uid))

    def instances(self, series: RemoteSeries) -> list[str]:
        """UIDs of the instances of a series; errors as of `find_series`."""
        with self._answers():
            found = self._client.search_for_instances(series.study, series.uid)
        return sorted(_uid(_value(item, "00080018")) for item in found)

    def fetch(self, series: RemoteSeries, instance: str, target: Path) -> None:
        """Write an instance to a file, in the transfer syntax that the archive has."""
        with self._answers():
            dataset = self._client.retrieve_instance(
                series.study,
                series.uid,
                instance,
                media_types=(("application/dicom", "*"),),
            )
        with atomic_path(target) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)

    def store(self, files: Sequence[Path]) -> list[str]:
        """Store files; returns their instance UIDs.

        Raises
        ------
        ProjectError
            The archive does not answer, or has not taken one of them.
        """
        import pydicom

        datasets = [pydicom.dcmread(file) for file in files]
        with self._answers():
            answer = self._client.store_instances(datasets)
        if failed := answer.get("FailedSOPSequence"):
            reason = failed[0].get("FailureReason", 0)
            raise ProjectError(
                f"{self.url}: expected it to take {len(datasets)} objects, found "
                f"{len(failed)} refused (reason {reason:#06x}); see the archive's log"
            )
        return [str(one.SOPInstanceUID) for one in datasets]

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Say in one line what is wrong with the archive, or with its answer."""
        from requests import HTTPError, RequestException

        try:
            yield
            self._client.set_http_retry_params(max_attempts=ATTEMPTS)
        except HTTPError as error:
            code = error.response.status_code if error.response is not None else 0
            hint = HINTS.get(code, "see the archive's log, then try once more")
            raise ProjectError(
                f"{self.url}: expected an answer, found HTTP {code}; {hint}"
            ) from error
        except RequestException as error:
            kind = type(error).__name__
            raise ProjectError(
                f"{self.url}: expected an archive that answers, found {kind}; check "
                f"address and network. What was fetched is kept: do it once more"
            ) from error
        except (ValueError, TypeError, KeyError, EOFError) as error:
            raise ImageError(
                f"{self.url}: expected an answer of DICOMweb, found "
                f"'{' '.join(str(error).split())[:200]}'; check the address"
            ) from error


def _let_in(session: Any, url: str) -> None:
    """Give a session its credentials, from the environment or the keyring."""
    if token := os.environ.get(TOKEN):
        session.headers["Authorization"] = f"Bearer {token}"
    elif user := os.environ.get(USER):
        session.auth = (user, os.environ.get(PASSWORD, ""))
    else:
        try:
            import keyring
            from keyring.errors import KeyringError
        except ImportError:
            return
        try:
            found = keyring.get_credential(f"{KEYRING}:{url}", None)
        except (KeyringError, OSError):
            return
        if found is not None:
            session.auth = (found.username, found.password)


def _value(item: Mapping[str, Any], tag: str) -> str:
    """First value of an attribute in DICOM's JSON; empty where there is none."""
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _uid(text: str) -> str:
    """Refuse what is no UID: it names a file."""
    if not _UID.fullmatch(text):
        raise ImageError(f"expected a UID from the archive, found {text[:80]!r}")
    return text
