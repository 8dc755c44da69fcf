"""Run verbs as jobs of SLURM, from here or through ssh."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from napari_semiseg.errors import ProjectError
from napari_semiseg.execution.remote import Job, RemoteHandle, ask
from napari_semiseg.execution.ssh import OPTIONS

DEFAULTS = ("--job-name=semiseg", "--open-mode=append", "--signal=B:TERM@120")
"""The signal comes before the time is over, so that a training writes a checkpoint."""
NAME = "slurm"
"""Of this machine in ``[roots]``."""


@dataclass(frozen=True, slots=True)
class SlurmExecutor:
    """Submit verbs by ``sbatch`` to machines that see the project's folder.

    Attributes
    ----------
    host : str
        Where ``sbatch`` is, reached by ssh; empty for this machine.
    roots : mapping
        Folders there by folders here.
    options : sequence of str
        For ``sbatch``, as ``--gres=gpu:1``.
    """

    host: str = ""
    roots: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()

    @property
    def parallel(self) -> int:
        """How many verbs run at once; SLURM queues the others."""
        return 1

    def submit(self, verb: str, arguments: Sequence[str], log: Path) -> RemoteHandle:
        """Queue ``semiseg verb arguments``; see `Executor.submit`."""
        job = Job.of(verb, arguments, log, self.host or NAME, self.roots)
        options = ["--parsable", *DEFAULTS, f"--output={job.log}", *self.options]
        answer = self._ask(["sbatch", *options], f"#!/bin/sh -l\n{job.script}\n")
        number = answer.strip().split("\n")[-1].split(";")[0]
        if not number.isdecimal():
            raise ProjectError(
                f"expected sbatch to give the number of a job, found {answer!r}; try "
                "it in a terminal"
            )
        return self.handle(number, job.session, log, job.log_start)

    def handle(
        self, job: str, session: str, log: Path, log_start: int = 0
    ) -> RemoteHandle:
        """Find a verb again that was submitted as a job.

        Raises
        ------
        ProjectError
            It is no number of a job.
        """
        if not job.isdecimal():
            raise ProjectError(f"expected the number of a job, found {job!r}")
        return RemoteHandle(
            log,
            f"{NAME}:{self.host}" if self.host else NAME,
            job,
            partial(self._lives, job),
            partial(self._ask, ["scancel", job]),
            session,
            partial(self._ask, ["scancel", "--state=PENDING", job]),
            log_start,
        )

    def _lives(self, number: str) -> bool | None:
        """Whether a job waits or runs; SLURM soon forgets one that has ended."""
        try:
            answer = self._ask(["squeue", "--noheader", "--format=%A", "--me"])
        except ProjectError:
            return None
        return number in answer.split()

    def _ask(self, words: Sequence[str], text: str = "") -> str:
        if self.host:
            words = [
                "ssh",
                *OPTIONS,
                self.host,
                f"sh -lc {shlex.quote(shlex.join(words))}",
            ]
        return ask(words, text)
