"""Read and write runs: folders whose event log is the state of a training."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import time
import tomllib
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Self

import tomlkit
from pydantic import ValidationError

from napari_semiseg.core.cancellation import NEVER, CancellationToken
from napari_semiseg.core.config import TrainingConfig, describe
from napari_semiseg.core.events import Finished, Started
from napari_semiseg.core.plan import Plan
from napari_semiseg.errors import ConfigError, ProjectError, SemisegError
from napari_semiseg.io.atomic import (
    folder_lock,
    machine,
    read_json,
    write_json,
    write_text,
)
from napari_semiseg.project.cases.case import id_of
from napari_semiseg.project.layout import is_id
from napari_semiseg.project.runs import predictions, submission, workers
from napari_semiseg.project.runs.event_log import (
    LogReader,
    LogSummary,
    checkpoint_facts,
)
from napari_semiseg.project.runs.process import (
    SESSION,
    Claim,
    Environment,
    heartbeat,
    is_alive,
)
from napari_semiseg.project.runs.submission import Submission

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_semiseg.core.events import Event, Learned
    from napari_semiseg.core.geometry import Geometry
    from napari_semiseg.core.prediction import (
        FeatureMaps,
        Prediction,
        PredictionRecord,
    )
    from napari_semiseg.project.cases.case import CaseRef
    from napari_semiseg.project.layout import HasLayout, Layout, RunFolder

RunStatus = Literal[
    "queued",
    "preparing",
    "running",
    "completed",
    "cancelled",
    "failed",
    "interrupted",
]
UNDER_WAY = frozenset({"queued", "preparing", "running"})
"""States of a run whose training has not ended."""


class Run:
    """A run of a project.

    Parameters
    ----------
    folder : RunFolder
        Paths of the run; the last part of its path is the run's id.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._log = LogSummary(folder.events)
        self._predictions = os.fspath(folder.predictions)
        self._record = folder.prediction("case").json.name
        self._created: float | None = None

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.folder == self.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    @classmethod
    def create(
        cls, project: HasLayout, config: TrainingConfig, run_id: str | None = None
    ) -> Self:
        """Make the folder of a new run, with its config and environment.

        Raises
        ------
        ProjectError
            The id is taken, or the folder cannot be written.
        """
        with cls._created_in(project.layout, config.method, run_id) as run:
            values = config.model_dump(mode="json", exclude_none=True)
            write_text(run.folder.config, tomlkit.dumps(values))
        return run

    @classmethod
    def of_command(
        cls, project: HasLayout, tool: str, command: str, version: str | None
    ) -> Self:
        """Make the folder of a run that holds masks of another program."""
        with cls._created_in(project.layout, tool, None) as run:
            facts = {"tool": tool, "command": command, "version": version}
            write_json(run.folder.command, facts)
        return run

    @classmethod
    @contextmanager
    def _created_in(
        cls, layout: Layout, name: str, run_id: str | None
    ) -> Iterator[Self]:
        """Make a folder, to be completed in the block or removed."""
        # A clock that went back does not make the new run an older one.
        newest = max((run.created for run in RunList(layout).all()), default=0)
        run = cls(_make_folder(layout, name, run_id))
        created = max(time.time(), newest + 0.001)
        try:
            run.claim()
            here = Environment.here(created)
            write_json(run.folder.environment, here.model_dump(mode="json"))
            yield run
        except BaseException:  # a full disk, as a rule
            run.discard()
            raise

    @classmethod
    def open(cls, folder: RunFolder) -> Self:
        """Find a run in its folder; refuses links that lead out of the project."""
        folder.check()
        return cls(folder)

    def discard(self) -> None:
        """Remove a run that never started; one that holds anything is left alone.

        So is one that another computer was asked to train.
        """
        if not self.started and self.submission is None:
            shutil.rmtree(self.folder.path, ignore_errors=True)
            with suppress(OSError):  # other runs are there, as a rule
                self.folder.path.parent.rmdir()

    @property
    def id(self) -> str:
        """Name of the run, unique in its project."""
        return self.folder.path.name

    @property
    def is_training(self) -> bool:
        """Whether it is of a model, rather than of another program's masks."""
        return not self.folder.command.exists()

    @property
    def config(self) -> TrainingConfig:
        """The training as it was asked for."""
        if not self.is_training:
            raise ProjectError(
                f"expected a training, found that run '{self.id}' holds masks of "
                "another program; name another run"
            )
        try:
            text = self.folder.config.read_text(encoding="utf-8-sig")
            values = tomllib.loads(text)
            if not values:
                raise ValueError("an empty file")
            return TrainingConfig(**values)
        except ValidationError as error:
            raise ConfigError(describe(error, str(self.folder.config))) from error
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ProjectError(
                f"{self.folder.config}: expected the settings of a run, found "
                f"'{reason}'; restore this file from a backup, what lies beside it "
                f"is kept"
            ) from error

    @property
    def method(self) -> str | None:
        """Training method; by the log where the settings are lost, else None."""
        with suppress(SemisegError):
            return self.config.method
        return self._summary.method

    @property
    def plan(self) -> Plan | None:
        """What the engine decided, or None before it has."""
        if not self.folder.plan.exists():
            return None
        try:
            return Plan.model_validate(read_json(self.folder.plan))
        except ValidationError as error:
            raise ConfigError(describe(error, str(self.folder.plan))) from error

    @property
    def created(self) -> float:
        """Unix time at which the run was created, s; read once."""
        if self._created is None:
            with suppress(OSError, SemisegError):
                known = Environment.read(self.folder.environment)
                self._created = None if known is None else known.created
        return self._first_time() if self._created is None else self._created

    def _first_time(self) -> float:
        """Time of the first event, else the day in the id; copies have other mtimes."""
        if first := next(self.events(), None):
            return first.at
        try:
            return datetime.strptime(self.id[:10], "%Y-%m-%d").timestamp()
        except ValueError:
            return 0.0

    # -- what happened -----------------------------------------------------------

    def events(self) -> Iterator[Event]:
        """Yield the whole events of the log; a line torn by a crash is left out.

        Those of workers, which predict beside others, come last. One is in memory at a
        time: logs grow to tens of megabytes.
        """
        for log in (self.folder.events, *workers.worker_logs(self.folder)):
            yield from LogReader(log).events()

    @property
    def learned(self) -> tuple[Learned, ...]:
        """Events of labels that were taken in, oldest first."""
        return tuple(self._summary.learned)

    @property
    def _summary(self) -> LogSummary:
        self._log.update()
        return self._log

    def append(self, event: Event) -> None:
        """Write an event to the log, on a line of its own even behind a torn one."""
        workers.append(self.folder.events, event)

    @property
    def started(self) -> bool:
        """Whether there is anything of a training: a log, plan, model or prediction."""
        folder = self.folder
        if self._summary.session is not None or folder.plan.exists():
            return True
        with suppress(OSError):
            if folder.events.stat().st_size:
                return True
        return any(
            path.is_symlink() or (path.is_dir() and any(path.iterdir()))
            for path in (folder.checkpoints, folder.predictions)
        )

    @property
    def status(self) -> RunStatus:
        """State of the last session, from the log and its process.

        Where the log is lost, what lies beside it tells: a checkpoint of the last step
        is that of a completed run. "queued" is a run that another computer was asked to
        train, and has not begun to.
        """
        status, waiting = self._session_status, self.waiting
        queued = waiting is not None and waiting.trains and status != "running"
        return "queued" if queued else status

    @property
    def is_under_way(self) -> bool:
        """Whether its training has not ended, or has not begun yet."""
        return self.status in UNDER_WAY

    @property
    def _session_status(self) -> RunStatus:
        """State of the last session that has begun."""
        event = self._summary.session
        if isinstance(event, Finished):
            return event.reason
        claim = self.claimed
        if event is not None:
            if claim is not None and claim.pid == event.pid:
                alive = self.is_working
            else:
                alive = is_alive(event.pid, before=event.at)
            return "running" if alive else "interrupted"
        if self.is_working:
            return "preparing"
        return "completed" if self._is_complete() else "interrupted"

    def _is_complete(self) -> bool:
        """Whether the checkpoint is that of the plan's last step."""
        with suppress(SemisegError):
            plan = self.plan
            return plan is not None and 0 < plan.steps <= self.steps_done
        return False

    @property
    def claimed(self) -> Claim | None:
        """Process that works, or last worked, on the run."""
        try:
            return Claim.parse(_content(self.folder.pid))
        except ValueError:
            return None

    @property
    def pid(self) -> int | None:
        """Number of the process that works, or last worked, on the run."""
        claim = self.claimed
        return None if claim is None else claim.pid

    @property
    def is_working(self) -> bool:
        """Whether its process still runs: after training it goes on to predict."""
        claim = self.claimed
        return claim is not None and claim.holds(self.folder.events, self.folder.pid)

    @property
    def is_busy(self) -> bool:
        """Whether another process trains it, or works on it on this computer.

        Of a process on another computer that has trained, and may go on to predict, no
        sign tells the end at once; it does not count, nor does the one that has
        submitted what waits to begin.
        """
        claim, waiting = self.claimed, self.waiting
        if claim is not None and claim.is_same(Claim.of(os.getpid())):
            return False
        if self._session_status == "running":
            return True
        if claim is None or (waiting is not None and waiting.trains):
            return False
        return claim.host in ("", machine()) and self.is_working

    @property
    def has_workers(self) -> bool:
        """Whether processes predict for it beside the one that it names."""
        return bool(workers.working_batches(self.folder))

    @property
    def awaits_workers(self) -> bool:
        """Whether an array of jobs that predicts has begun, and has parts to do."""
        return bool(workers.awaited_batches(self.folder))

    @property
    def submission(self) -> Submission | None:
        """Verb that was submitted to another computer, and has not ended."""
        return Submission.read(self.folder)

    @property
    def waiting(self) -> Submission | None:
        """Verb that was submitted to another computer, and has not begun there."""
        found = self.submission
        if found is None:
            return None
        claim, event = self.claimed, self._summary.session
        started = [claim.session] if claim is not None else []
        started += [event.session] if isinstance(event, Started) else []
        return None if found.session in started else found

    def note_submission(self, verb: str, place: str, job: str, session: str) -> None:
        """Note that another computer was asked to run a verb on this run.

        Raises
        ------
        ProjectError
            The run's folder cannot be written.
        """
        submission.close_ended(self.folder, session)
        made = Submission(verb=verb, place=place, job=job, session=session)
        made.write(self.folder)

    def claim(self, pid: int | None = None, session: str | None = None) -> None:
        """Note the process (this one by default) that works on the run from now on.

        A request to stop that was meant for the process before it is taken back; but
        not where the process was submitted, with a mark of its ``session`` (that in
        its environment by default): it may have been asked to stop before it began.
        """
        mark = os.environ.get(SESSION, "") if session is None else session
        claim, before = Claim.of(pid or os.getpid(), mark), self.claimed
        if before is not None and before.is_same(claim):
            return
        if self.started and not mark:
            self.clear_stop()
        found = self.submission
        if found is not None and found.session != mark and self.waiting is None:
            submission.close(self.folder, found.session)
        submission.close_ended(self.folder, mark)
        write_text(self.folder.pid, claim.text)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Show that this process is about to work on the run, so that a stop finds it.

        A process that works on it already keeps its claim. When the block ends before
        it has logged anything, the claim is taken back.
        """
        if self.is_busy:
            yield
            return
        with self._claimed():
            yield

    @contextmanager
    def _claimed(self) -> Iterator[None]:
        """Claim the run; when the block has logged nothing, the claim is taken back."""
        before, logged = _content(self.folder.pid), _size(self.folder.events)
        self.claim()
        own = self.claimed
        try:
            yield
        finally:
            now = self.claimed
            if (
                before
                and _is_same_claim(own, now)
                and _size(self.folder.events) == logged
            ):
                write_text(self.folder.pid, before)

    @contextmanager
    def claimed_alone(self) -> Iterator[None]:
        """Train the run in this process, and keep other processes from it meanwhile.

        When the block ends before it has logged anything, the claim is taken back.

        Raises
        ------
        ProjectError
            Another process trains the run.
        """
        busy = ProjectError(f"run {self.id!r} is still going; stop it first")
        with folder_lock(self.folder.path, busy):
            if self._session_status == "running" and self.pid != os.getpid():
                raise busy
            waiting, mark = self.waiting, os.environ.get(SESSION)
            if waiting is not None and waiting.trains and waiting.session != mark:
                submission.close(self.folder, waiting.session)  # this one trains it
            with self._claimed(), heartbeat(self.folder.pid):
                yield

    @property
    def steps_done(self) -> int:
        """Training steps so far."""
        return int(self._newest("step"))

    @property
    def seconds(self) -> float:
        """Seconds of training so far, over all sessions."""
        return self._newest("seconds")

    @property
    def gradient_ratio(self) -> float | None:
        """Gradient of terms on unlabelled crops over that of labelled ones."""
        return self._summary.newest("gradient_ratio")

    def _newest(self, field: str) -> float:
        """Value of a field by the log; where that is lost, by the checkpoint."""
        value = self._summary.newest(field)
        if value is None and self.has_model:
            value = getattr(checkpoint_facts(self.folder.last), field)
        return value or 0.0

    @property
    def has_model(self) -> bool:
        """Whether there is a checkpoint to predict with or to go on from."""
        return self.folder.last.exists()

    def request_stop(self) -> None:
        """Ask the run to write a checkpoint and end; returns at once."""
        workers.request_stop(self.folder)

    def clear_stop(self) -> None:
        """Take a request to stop back."""
        self.folder.stop.unlink(missing_ok=True)

    @property
    def stop_requested(self) -> bool:
        """Whether the run was asked to end."""
        return self.folder.stop.exists()

    @property
    def cancellation(self) -> CancellationToken:
        """Token that is cancelled once the run was asked to end."""
        return CancellationToken(lambda: self.stop_requested)

    # -- predictions -------------------------------------------------------------

    def is_predicted(self, case: CaseRef, step: int, *, maps: bool = True) -> bool:
        """Whether a prediction by the model of a step is stored, with its maps."""
        if not self.has_prediction(case):
            return False
        with suppress(SemisegError):
            stored = self.folder.prediction(id_of(case)).sdm.exists() or not maps
            return stored and self.prediction_record(case).step == step
        return False

    def has_prediction(self, case: CaseRef) -> bool:
        """Whether a whole prediction of the case is stored."""
        name = id_of(case)
        return is_id(name) and os.path.exists(self._record_of(name))

    def _record_of(self, name: str) -> str:
        """Path of a prediction's record, as text: cohorts ask a million times."""
        return f"{self._predictions}/{name}/{self._record}"

    def predicted(self, without: Collection[str] = ()) -> tuple[str, ...]:
        """Ids of the cases with a stored prediction, sorted; ``without`` some of them.

        Of a name that is left out, nothing is looked at.
        """
        try:
            names = sorted(os.listdir(self._predictions))
        except (FileNotFoundError, NotADirectoryError):
            return ()
        return tuple(
            name
            for name in names
            if name not in without
            and not name.startswith(".")
            and os.path.exists(self._record_of(name))
        )

    def prediction_record(self, case: CaseRef) -> PredictionRecord:
        """Provenance and scores of a stored prediction, without its voxels.

        Raises
        ------
        ProjectError
            There is no prediction of this case in the run.
        """
        return predictions.read_record(self.folder.prediction(id_of(case)))

    def read_mask(
        self, case: CaseRef, geometry: Geometry
    ) -> tuple[PredictionRecord, NDArray[np.uint8]]:
        """Predicted mask (Z, Y, X) of a case with its record; as `read_prediction`."""
        return predictions.read_mask(self.folder.prediction(id_of(case)), geometry)

    def read_prediction(self, case: CaseRef, geometry: Geometry) -> Prediction:
        """Stored prediction of a case, on the case's own grid.

        Its files are of one prediction, though a training may put another in its
        place meanwhile.

        Raises
        ------
        SemisegError
            There is no prediction of this case in the run, or it cannot be read.
        """
        return predictions.read(self.folder.prediction(id_of(case)), geometry)

    def read_feature_maps(
        self, case: CaseRef, geometry: Geometry
    ) -> tuple[PredictionRecord, NDArray[np.uint8], FeatureMaps]:
        """Predicted mask (Z, Y, X) of a case and the decoder's maps, with its record.

        Raises
        ------
        ProjectError
            There is no prediction of this case in the run, or it was stored without.
        """
        folder = self.folder.prediction(id_of(case))
        return predictions.read_feature_maps(folder, geometry)

    def write_prediction(
        self,
        prediction: Prediction,
        image: Path,
        cancellation: CancellationToken = NEVER,
        *,
        maps: bool = True,
    ) -> None:
        """Store a prediction; a reader sees the old one, none, or the whole new one.

        Parameters
        ----------
        prediction : Prediction
            On the grid of the case.
        image : Path
            The case's image, whose header the files are written onto.
        cancellation : CancellationToken
            Checked now and then; once cancelled, the old prediction stays.
        maps : bool
            Whether to store distances, uncertainty and feature maps beside the mask.
        """
        folder = self.folder.prediction(prediction.record.case)
        predictions.write(folder, prediction, image, cancellation, maps=maps)


def _is_same_claim(own: Claim | None, now: Claim | None) -> bool:
    """Whether a claim is of this process, or of one that it has started."""
    if own is None or now is None:
        return False
    return now.is_same(own) or (own.session != "" and now.session == own.session)


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class RunList:
    """Runs of a project by age; those found before are not read again."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._names: list[str] = []
        self._runs: list[Run] = []

    def all(self) -> list[Run]:
        """All runs, oldest first."""
        try:
            names = os.listdir(self._layout.runs)
        except FileNotFoundError:
            names = []
        if names != self._names or any(run._created is None for run in self._runs):
            known = {run.id: run for run in self._runs}
            runs = [
                known.get(name) or Run.open(self._layout.run(name))
                for name in names
                if not name.startswith(".") and (self._layout.runs / name).is_dir()
            ]
            self._runs = sorted(runs, key=lambda run: (run.created, run.id))
            self._names = names
        return list(self._runs)

    def get(self, run_id: str) -> Run:
        """One run; the error where there is none names those there are."""
        runs = self.all()
        for run in runs:
            if run.id == run_id:
                return run
        known = ", ".join(run.id for run in runs[-5:]) or "none; train one first"
        raise ProjectError(
            f"expected a run of the project, found '{run_id}'; there is {known}"
        )

    def latest(self, finished: bool = False) -> Run | None:
        """Newest training; with ``finished``, the newest that ended with a model."""
        for run in (run for run in reversed(self.all()) if run.is_training):
            ended = run.has_model and not run.is_under_way
            if ended or not finished:
                return run
        return None

    def predicting(self, case: CaseRef) -> Run | None:
        """Newest run that holds a prediction of the case."""
        name = id_of(case)
        found = (run for run in reversed(self.all()) if run.has_prediction(name))
        return next(found, None)

    def newest_predictions(self) -> dict[str, Run]:
        """Newest run that holds a prediction, by the id of the case."""
        found: dict[str, Run] = {}
        for run in reversed(self.all()):
            found |= dict.fromkeys(run.predicted(without=found), run)
        return found


def newest_model(runs: Sequence[Run]) -> Run:
    """Newest of runs, given oldest first, that has a model.

    Raises
    ------
    ProjectError
        None has.
    """
    for run in reversed(runs):
        if run.has_model:
            return run
    raise ProjectError("expected a trained run, found none; train first: semiseg train")


def _make_folder(layout: Layout, method: str, run_id: str | None) -> RunFolder:
    """Make an empty folder; of two programs with one idea, one takes the next id.

    The default id is as ``2026-11-21_ug_mcl_01``.
    """
    plain = re.sub(r"[^\w-]", "-", method)
    stem = f"{time.strftime('%Y-%m-%d')}_{plain}"
    for number in itertools.count(1):
        folder = layout.run(run_id or f"{stem}_{number:02d}")
        try:
            folder.path.mkdir(parents=True)
        except FileExistsError:
            if run_id is None:
                continue
            raise ProjectError(
                f"expected a new run, found that '{run_id}' exists; use semiseg resume"
            ) from None
        except OSError as error:
            raise ProjectError(
                f"{folder.path}: expected a folder that can be written, found "
                f"'{error.strerror}'; check the folder's permissions"
            ) from error
        break
    return folder
