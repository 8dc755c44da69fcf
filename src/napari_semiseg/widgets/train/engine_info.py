"""What the engine can do, asked of a child process so that torch stays out of here."""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QProcess, Signal

from napari_semiseg.widgets.common.preferences import preferences

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = (sys.executable, "-m", "napari_semiseg")
INSTALL = "pip install 'napari-semiseg[engine]'"


def has_engine() -> bool:
    """Whether PyTorch is installed; looks for it without loading it."""
    return find_spec("torch") is not None


class EngineInfo(QObject):
    """Methods and devices, as ``semiseg methods`` and ``semiseg doctor`` tell them.

    Signals
    -------
    methods_changed(list of dict), devices_changed(list of dict)
        An answer arrived.
    failed(str)
        The child did not answer; one line saying why.
    """

    methods_changed = Signal(list)
    devices_changed = Signal(list)
    failed = Signal(str)

    def __init__(
        self, parent: QObject | None = None, command: Sequence[str] | None = None
    ) -> None:
        super().__init__(parent)
        self._command = tuple(command or COMMAND)
        self._process: QProcess | None = None
        self._queue: list[str] = []
        self.methods: list[dict[str, Any]] = self._cached()

    def ask(self) -> None:
        """Ask both, one child after the other; answers come by signal."""
        if self._process is None:
            self._queue = ["methods", "doctor"]
            self._next()

    def stop(self) -> None:
        """End a question under way."""
        self._queue = []
        if self._process is not None:
            process, self._process = self._process, None
            process.finished.disconnect()
            process.errorOccurred.disconnect()
            process.kill()
            process.waitForFinished(1000)

    def _next(self) -> None:
        if not self._queue:
            self._process = None
            return
        verb = self._queue.pop(0)
        process = QProcess(self)
        process.finished.connect(lambda *_: self._answered(verb, process))
        process.errorOccurred.connect(lambda *_: self._broken(process))
        self._process = process
        process.start(self._command[0], [*self._command[1:], verb, "--json"])

    def _answered(self, verb: str, process: QProcess) -> None:
        output = bytes(process.readAllStandardOutput()).decode(errors="replace")
        errors = bytes(process.readAllStandardError()).decode(errors="replace")
        process.deleteLater()
        try:
            answer = json.loads(output)
        except json.JSONDecodeError:
            answer = None
        if isinstance(answer, dict):
            self._take(verb, answer)
        else:
            lines = errors.strip().splitlines() or [
                "the training engine gave no answer"
            ]
            self.failed.emit(lines[-1])
        self._next()

    def _broken(self, process: QProcess) -> None:
        if process.error() == QProcess.ProcessError.FailedToStart:
            self.failed.emit(f"{self._command[0]} cannot be started")
            process.deleteLater()
            self._process = None

    def _take(self, verb: str, answer: dict[str, Any]) -> None:
        if verb == "methods":
            self.methods = list(answer.get("methods", []))
            preferences().setValue(_key(), json.dumps(self.methods))
            self.methods_changed.emit(self.methods)
        else:
            self.devices_changed.emit(list(answer.get("devices", [])))

    def _cached(self) -> list[dict[str, Any]]:
        stored = preferences().value(_key())
        try:
            return list(json.loads(stored)) if stored else []
        except (json.JSONDecodeError, TypeError):
            return []


def _key() -> str:
    """Answers are kept per version of the package."""
    try:
        return f"methods/{version('napari-semiseg')}"
    except PackageNotFoundError:
        return "methods/unknown"
