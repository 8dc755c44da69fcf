"""Choose where verbs run, by a text such as ``ssh:cellar``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.errors import ConfigError
from napari_semiseg.execution.cluster import ClusterExecutor, connect
from napari_semiseg.execution.slurm import NAME, SlurmExecutor
from napari_semiseg.execution.ssh import SshExecutor

if TYPE_CHECKING:
    from napari_semiseg.execution.executor import Handle
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run
    from napari_semiseg.project.runs.submission import Submission


def executor_at(
    place: str, project: Project
) -> ClusterExecutor | SshExecutor | SlurmExecutor:
    """Make what runs verbs at a place, by the ``[roots]`` and ``slurm`` of a project.

    Parameters
    ----------
    place : str
        ``ssh:HOST``, ``slurm``, ``slurm:HOST`` (``sbatch`` through ssh), or a Dask
        scheduler as ``tcp://HOST:PORT`` or ``tls://``.

    Raises
    ------
    ConfigError
        There is no such place.
    ProjectError
        The scheduler does not answer.
    """
    kind, colon, host = place.partition(":")
    # What begins with a dash would be an option of ssh.
    named = bool(host) and not host.startswith("-") and not host.isspace()
    settings = project.settings
    if kind in ("tcp", "tls"):
        return ClusterExecutor(connect(place), place)
    if kind == "ssh" and named:
        return SshExecutor(host, settings.roots.get(host, {}))
    if kind == NAME and (named or not colon):
        roots = settings.roots.get(host or NAME, {})
        return SlurmExecutor(host, roots, settings.slurm)
    raise ConfigError(
        f"expected a place as ssh:HOST, slurm, slurm:HOST, tcp://HOST:PORT or tls://…, "
        f"found {place!r}"
    )


def submitted(found: Submission, project: Project, run: Run) -> Handle:
    """Find a verb again that was submitted to a place.

    Raises
    ------
    SemisegError
        The place does not answer, or is none.
    """
    executor = executor_at(found.place, project)
    return executor.handle(found.job, found.session, run.folder.log)
