"""Run functions and verbs on the workers of a Dask cluster.

What is sent are names of functions, strings and whole numbers; what is worked on lies
in a folder that all machines see under one path.
"""

from __future__ import annotations

import gc
import logging
import os
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_semiseg.core.events import Started
from napari_semiseg.errors import STOPPED, ConfigError, ProjectError
from napari_semiseg.execution.executor import length
from napari_semiseg.execution.local import LocalExecutor
from napari_semiseg.io.atomic import write_text
from napari_semiseg.project.layout import RunFolder
from napari_semiseg.project.runs import submission
from napari_semiseg.project.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from distributed import Client, Future

    from napari_semiseg.execution.local import LocalHandle

LOCAL, SLURM = "local:", "slurm:"
RETRIES = 2
"""How often a task is given to another worker when it fails, or kills its own."""
WAITING_TASKS = 3
"""Tasks that wait on each worker, so that none is idle and few are to be taken back."""
WAIT_S = 0.1
LOOK_S = 2.0
CONNECT_S = 20
GPU = "GPU"
"""Resource of workers that have one, as in ``dask worker --resources GPU=1``."""


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to a scheduler, or start one, until the block ends.

    Parameters
    ----------
    address : str
        ``tcp://HOST:PORT`` or ``tls://``, by the certificates of Dask's own settings;
        ``local:N`` for N processes on this machine; ``slurm:N`` for N jobs, as
        dask-jobqueue is set up.

    Raises
    ------
    ConfigError
        No such address, or Dask is not installed.
    ProjectError
        Nobody answers there, or it refuses this client.
    """
    _require_dask()
    from distributed import LocalCluster

    cluster: Any = None
    if address.startswith((LOCAL, SLURM)):
        kind, _, text = address.partition(":")
        if not text.isdecimal() or int(text) < 1:
            raise ConfigError(f"expected --cluster {kind}:N, found {address!r}")
        if kind == "local":
            cluster = LocalCluster(
                n_workers=int(text),
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
                scheduler_kwargs={"allowed_failures": RETRIES},
            )
        else:
            cluster = _slurm(int(text))
    elif not address.startswith(("tcp://", "tls://")):
        raise ConfigError(
            f"expected --cluster tcp://HOST:PORT, tls://…, local:N or slurm:N, found "
            f"{address!r}"
        )
    client = connect(address, cluster)
    try:
        yield client
    finally:
        with _silenced():
            client.close()
            if cluster is not None:
                cluster.close()


@contextmanager
def _silenced() -> Iterator[None]:
    """Show nothing that Dask logs, as of workers that miss a scheduler being closed."""
    from distributed.utils import silence_logging_cmgr

    with (
        silence_logging_cmgr(logging.CRITICAL + 1),
        silence_logging_cmgr(logging.CRITICAL + 1, "distributed.client"),
    ):
        yield


def connect(address: str, cluster: Any = None) -> Client:
    """Connect to a scheduler, or to a cluster at that address; see `connected`."""
    _require_dask()
    from distributed import Client

    try:
        return Client(address if cluster is None else cluster, timeout=CONNECT_S)
    except (OSError, TypeError, ValueError) as error:
        found = str(error).splitlines()[0]
    # A client that did not connect is closed when it is collected. While the next one
    # starts that would wait for ever for a lock that this thread holds.
    gc.collect()
    raise ProjectError(
        f"expected a Dask scheduler at {address} that lets this client in, found "
        f"'{found}'; check that it runs, and the certificates"
    )


def _require_dask() -> None:
    if find_spec("distributed") is None:
        raise ConfigError(
            "expected Dask for a cluster, found none; install it with: pip install "
            "'napari-semiseg[cluster]'"
        )


def _slurm(jobs: int) -> Any:
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ConfigError(
            "expected dask-jobqueue for --cluster slurm:N, found none; install it with "
            "pip, or use an array of jobs with --shard"
        ) from error
    cluster = SLURMCluster()
    cluster.scale(jobs=jobs)
    return cluster


def compute(
    client: Client,
    function: Callable[..., str],
    calls: Mapping[str, Sequence[str | int]],
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[str, str | BaseException]]:
    """Call a function once for each key; yields what it returns, or its error.

    What a worker that dies had begun is given to another one; a call that kills three
    (or as many as the scheduler of others has set) is an error, and so is one that
    fails three times.

    Parameters
    ----------
    function : callable
        Of a module that the workers have too.
    calls : mapping
        Arguments by key. A key names a result on the scheduler: further calls
        with it get the same result while it is there.
    stop : callable
        Asked often; what has not begun is then taken back.
    """
    from distributed import KilledWorker, as_completed

    resources = _resources(client)
    waiting = iter(calls.items())
    running: dict[Any, str] = {}
    done = as_completed()
    stopped = False
    while True:
        if not stopped and stop():
            stopped = True
            client.cancel([one for one in running if one.status == "pending"])
        most = WAITING_TASKS * max(1, len(client.nthreads()))
        while not stopped and len(running) < most:
            if (call := next(waiting, None)) is None:
                break
            key, arguments = call
            future = client.submit(
                function,
                *arguments,
                key=key,
                pure=False,
                retries=RETRIES,
                resources=resources,
            )
            running[future] = key
            done.add(future)
        if not running:
            return
        if not done.has_ready():
            time.sleep(WAIT_S)
            continue
        future = next(done)
        key = running.pop(future)
        if not future.cancelled():
            error = future.exception()
            if isinstance(error, KilledWorker):
                error = ProjectError(
                    f"expected a worker that lives through it, found that "
                    f"{error.allowed_failures + 1} have died; check their memory, and "
                    "what they have logged"
                )
            yield key, future.result() if error is None else error


def _resources(client: Client) -> dict[str, int] | None:
    """Give what a task takes of its worker: a GPU, where workers declare some."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    has_gpus = any(one.get("resources", {}).get(GPU) for one in workers.values())
    return {GPU: 1} if has_gpus else None


_RUNNING: dict[str, LocalHandle] = {}
"""Processes beside this worker, by the marks of their sessions."""


def run_verb(verb: str, arguments: Sequence[str], log: str, session: str) -> int:
    """Run a verb in a process beside this worker; returns its exit code.

    That is also written beside the log, for when nobody waits for it any more. The
    process ends with this worker, since the scheduler gives a lost verb to another one.
    That of a computer that is gone counts as at work for a while, which is waited for.
    """
    run = Run(RunFolder(Path(log).parent))
    while run.status == "running" and _is_lost(run, session):
        if run.stop_requested:
            return STOPPED
        time.sleep(LOOK_S)
    executor = LocalExecutor(low_priority=False, session=session, tied=True)
    handle = _RUNNING[session] = executor.submit(verb, arguments, Path(log))
    try:
        with handle.process as process:
            code = process.wait()
    finally:
        del _RUNNING[session]
    with suppress(OSError):  # a run that was refused is gone
        run.folder.exit_code(session).write_text(f"{code}\n", encoding="ascii")
    return code


def is_running(session: str) -> bool:
    """Whether a verb runs in a process beside this worker."""
    return session in _RUNNING


def end_verb(session: str) -> bool:
    """End a verb that runs beside this worker; whether it does."""
    handle = _RUNNING.get(session)
    if handle is not None:
        handle.terminate()
    return handle is not None


def _is_lost(run: Run, session: str) -> bool:
    """Whether a verb has trained a run before, on a worker that was lost."""
    events = run.events() if run.folder.events.exists() else ()
    return any(isinstance(one, Started) and one.session == session for one in events)


@dataclass(frozen=True, slots=True)
class ClusterHandle:
    """A verb in the queue of a cluster, or on a worker.

    Attributes
    ----------
    future : Future
        Its exit code.
    log : Path
        What it prints.
    session : str
        Mark of its events.
    place : str
        Address of the scheduler where it outlives this process, else empty.
    log_start : int
        Length of the log at the submission, bytes.
    started : float
        Unix time, s.
    """

    future: Future
    log: Path
    session: str
    place: str = ""
    log_start: int = 0
    started: float = field(default_factory=time.time)
    pid: None = None

    @property
    def job(self) -> str:
        """Key of the task."""
        return str(self.future.key)

    def poll(self) -> int | None:
        """Return the exit code, or None before the end; 1 where it was lost."""
        if not self.future.done():
            return None
        submission.close(RunFolder(self.log.parent), self.session)
        if self.future.cancelled():
            return STOPPED
        return int(self.future.result()) if self.future.status == "finished" else 1

    def terminate(self) -> None:
        """End it now, on the worker that runs it or in the queue.

        Raises
        ------
        ProjectError
            The workers do not answer.
        """
        if not self._ask(end_verb):
            self.future.cancel(force=True)

    def withdraw(self) -> bool:
        """Take it out of the queue where no worker runs it; whether it is gone.

        Raises
        ------
        ProjectError
            The workers do not answer.
        """
        if self.future.done():
            return True
        if self._ask(is_running):
            return False
        self.future.cancel(force=True)
        ended = RunFolder(self.log.parent).exit_code(self.session)
        write_text(ended, f"{STOPPED}\n")
        return True

    def _ask(self, question: Callable[[str], bool]) -> bool:
        """Whether a worker answers a question about this verb by yes."""
        client = self.future.client
        try:
            answers = client.run(question, self.session, on_error="ignore")
        except (OSError, TimeoutError) as error:
            raise ProjectError(
                f"expected an answer of the workers of {client.scheduler.address}, "
                f"found '{error}'; check that they run"
            ) from error
        return any(answer is True for answer in answers.values())


@dataclass(frozen=True, slots=True)
class ClusterExecutor:
    """Run verbs on the workers of a cluster; see `Executor`.

    Attributes
    ----------
    client : Client
        Of its scheduler.
    place : str
        Address of the scheduler, where verbs are to stay in the queue when the client
        is gone.
    """

    client: Client = field(repr=False)
    place: str = ""

    @property
    def parallel(self) -> int:
        """How many verbs run at once."""
        return max(1, len(self.client.nthreads()))

    def submit(self, verb: str, arguments: Sequence[str], log: Path) -> ClusterHandle:
        """Queue ``semiseg verb arguments``; see `Executor.submit`.

        The key stays the same when a lost verb is given to another worker, and is
        another one in each call: of one that is known the scheduler has the result.
        """
        from distributed import fire_and_forget

        session, log_start = uuid.uuid4().hex, length(log)
        sent = [os.fspath(word) for word in arguments]
        future = self.client.submit(
            run_verb,
            verb,
            sent,
            os.fspath(log),
            session,
            key=f"semiseg-{verb}-{log.parent.name}-{session}",
            pure=False,
            retries=RETRIES,
            resources=_resources(self.client),
        )
        if self.place:
            fire_and_forget(future)
        return ClusterHandle(future, log, session, self.place, log_start)

    def handle(self, job: str, session: str, log: Path) -> ClusterHandle:
        """Find a verb again by the key of its task."""
        from distributed import Future

        return ClusterHandle(Future(job, self.client), log, session, self.place)
