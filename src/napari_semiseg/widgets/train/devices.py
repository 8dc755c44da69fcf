"""Find devices that can train, by a child process that loads torch."""

from __future__ import annotations

import sys
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError
from qtpy.QtCore import QObject, QProcess, Signal

from napari_semiseg.widgets.elements.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = (sys.executable, "-m", "napari_semiseg", "doctor", "--json")
INSTALL = "pip install 'napari-semiseg[engine]'"


class DetectedDevice(BaseModel):
    """A device that can train.

    Attributes
    ----------
    name : str
        As in `TrainingConfig.device`.
    title : str
        What it is called for a person.
    memory_gb : float or None
        None where it is not known.
    """

    name: str
    title: str
    memory_gb: float | None = None


class _Check(BaseModel):
    name: str
    found: str
    fix: str


class _Answer(BaseModel):
    devices: list[DetectedDevice]
    checks: list[_Check] = []


def has_torch() -> bool:
    """Tell whether PyTorch is installed, without loading it."""
    return find_spec("torch") is not None


class DeviceQuery(QObject):
    """Runs ``semiseg doctor --json``, which loads torch.

    Signals
    -------
    found(list of DetectedDevice)
        The answer.
    failed(str)
        One line saying why there is none.
    """

    found = Signal(list)
    failed = Signal(str)

    def __init__(
        self, parent: QObject | None = None, command: Sequence[str] | None = None
    ) -> None:
        super().__init__(parent)
        self._command = tuple(command or COMMAND)
        self._process = QProcess(self)
        self._process.finished.connect(self._answered)
        self._process.errorOccurred.connect(self._broken)
        Connections(self).at_close(partial(_end, self._process))

    def start(self) -> None:
        """Start the process; its answer comes by signal."""
        self._process.start(self._command[0], self._command[1:])

    def _answered(self, *_: object) -> None:
        output = bytes(self._process.readAllStandardOutput().data())
        raw = bytes(self._process.readAllStandardError().data())
        errors = raw.decode(errors="replace")
        try:
            answer = _Answer.model_validate_json(output)
            broken = [
                f"{check.found}; {check.fix}"
                for check in answer.checks
                if check.name == "torch"
            ]
            if answer.devices or not broken:
                self.found.emit(answer.devices)
            else:
                self.failed.emit(broken[0])
        except ValidationError:
            lines = errors.strip().splitlines()
            self.failed.emit(lines[-1] if lines else "it gave no answer")

    def _broken(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self.failed.emit(f"{self._command[0]} cannot be started")


def _end(process: QProcess) -> None:
    process.blockSignals(True)
    process.kill()
    process.waitForFinished(1000)
