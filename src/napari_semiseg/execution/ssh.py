"""Run verbs on another computer by ssh."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from napari_semiseg.errors import ProjectError
from napari_semiseg.execution.remote import Job, RemoteHandle, ask

OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")


@dataclass(frozen=True, slots=True)
class SshExecutor:
    """Run verbs on a host that sees the project's folder, as its login shell would.

    They go on when the connection ends, and this computer too.

    Attributes
    ----------
    host : str
        As ``ssh`` takes it; its settings come from the user's ssh configuration.
    roots : mapping
        Folders there by folders here.
    """

    host: str
    roots: Mapping[str, str] = field(default_factory=dict)

    @property
    def parallel(self) -> int:
        """How many verbs run at once: they share the machine."""
        return 1

    def submit(self, verb: str, arguments: Sequence[str], log: Path) -> RemoteHandle:
        """Start ``semiseg verb arguments`` there; see `Executor.submit`."""
        job = Job.of(verb, arguments, log, self.host, self.roots)
        # What cannot begin is reported at once: no folder there, or no semiseg.
        checks = (
            f"touch {shlex.quote(job.log)} || exit 1",
            "command -v semiseg > /dev/null || "
            "{ echo 'semiseg is not on the PATH of a login shell' >&2; exit 1; }",
        )
        start = f"nohup sh -c {shlex.quote(job.script)} > /dev/null 2>&1 < /dev/null &"
        pid = self._ask("\n".join([*checks, start, "echo $!"])).split()[-1:]
        if not pid or not pid[0].isdecimal():
            raise ProjectError(
                f"expected {self.host} to start '{verb}', found no process number; try "
                f"ssh {self.host} in a terminal"
            )
        return self.handle(pid[0], job.session, log, job.log_start)

    def handle(
        self, job: str, session: str, log: Path, log_start: int = 0
    ) -> RemoteHandle:
        """Find a verb again by the number of its process there.

        Raises
        ------
        ProjectError
            It is no such number.
        """
        if not job.isdecimal():
            raise ProjectError(f"expected the number of a process, found {job!r}")
        return RemoteHandle(
            log,
            f"ssh:{self.host}",
            job,
            partial(self._lives, job),
            partial(self._ask, f"kill {job}"),
            session,
            log_start=log_start,
        )

    def _lives(self, pid: str) -> bool | None:
        try:
            answer = self._ask(f"kill -0 {pid} 2> /dev/null && echo yes || echo no")
        except ProjectError:
            return None
        return answer.split()[-1:] == ["yes"]

    def _ask(self, script: str) -> str:
        return ask(["ssh", *OPTIONS, self.host, f"sh -lc {shlex.quote(script)}"])
