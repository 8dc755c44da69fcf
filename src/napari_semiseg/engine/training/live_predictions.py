"""Predict the open case and its queue while the training goes on."""

from __future__ import annotations

import math
import time
from operator import itemgetter
from typing import TYPE_CHECKING

from napari_semiseg.core.cancellation import Cancelled
from napari_semiseg.core.case import CaseState
from napari_semiseg.core.events import Predicted, Warned
from napari_semiseg.engine.distributed import ALONE
from napari_semiseg.errors import SemisegError
from napari_semiseg.imaging.resampling import working_shape
from napari_semiseg.project.runs.prediction_requests import requested_predictions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_semiseg.core.config import TrainingConfig
    from napari_semiseg.core.events import Event
    from napari_semiseg.core.plan import Plan
    from napari_semiseg.engine.distributed import Ranks
    from napari_semiseg.engine.training.trainer import Trainer
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

SHARE = 0.1
"""Part of the time, at most, that goes into predictions on the way."""
FIRST_AT = 0.1
"""Part of a training that begins from scratch before it predicts on the way."""
LEARN_STEPS = 25
"""Steps with a new label before it can show in a prediction."""
LOOK_S = 1.0
PASSES = 8 * 2 / 3
"""Steps' worth of a crop for each crop that a volume holds: windows overlap by half
along three axes, two mirrored views of each, and a step costs three forward passes."""


class LivePredictions:
    """Predicts the cases that the panel requests, one a rank between two steps.

    A case is due when labels came in since it was predicted, or after
    ``refresh_seconds``. The steps of the training are not touched by it: neither their
    number nor, since nothing random is drawn, what is learnt in them.

    Parameters
    ----------
    project, run
        Whose cases, and where predictions are stored.
    config : TrainingConfig
        Says how often.
    plan : Plan
        Crop, voxel size, and all steps of the training.
    is_warm_started : bool
        Whether the first weights are those of an earlier run.
    ranks : Ranks
        All of which call `events` at the same step; the first one chooses the cases.
    """

    def __init__(
        self,
        project: Project,
        run: Run,
        config: TrainingConfig,
        plan: Plan,
        *,
        is_warm_started: bool,
        ranks: Ranks = ALONE,
    ) -> None:
        self._project = project
        self._run = run
        self._ranks = ranks
        self._every = config.refresh_seconds
        self._feature_maps = config.feature_maps
        self._settle = min(LEARN_STEPS, config.fresh_steps)
        self._plan = plan
        self._from = (
            self._settle if is_warm_started else math.ceil(FIRST_AT * plan.steps)
        )
        self._start = self._next = time.perf_counter()
        self._spent = 0.0
        self._made: dict[str, tuple[int, float]] = {}
        self._too_large: set[str] = set()

    def events(self, trainer: Trainer) -> Iterator[Event]:
        """Predict requested cases, when there are some and time for them."""
        start = time.perf_counter()
        first, rank = self._ranks.is_first, self._ranks.rank
        names = self._ranks.shared(self._chosen(trainer, start) if first else [])
        if not names:
            return
        event = self._predict(names[rank], trainer) if rank < len(names) else None
        found = self._ranks.gathered((event, self._too_large))
        done = time.perf_counter()
        self._spent += done - start
        self._made |= dict.fromkeys(names, (trainer.step, done))
        for event, too_large in found:
            self._too_large |= too_large
            if first and event is not None:
                yield event

    def _chosen(self, trainer: Trainer, now: float) -> list[str]:
        """List the requested cases that are due, at most one for each rank."""
        if now < self._next or trainer.step < self._from:
            return []
        self._next = now + min(LOOK_S, self._every)
        if self._spent > SHARE * (now - self._start):
            return []
        since = trainer.schedule.since
        learnt = trainer.step >= since + self._settle
        due: list[tuple[bool, float, str]] = []
        for name in requested_predictions(self._run):
            step, at = self._made.get(name, (-1, -math.inf))
            is_update = since > step and learnt
            waits = is_update or now - at >= self._every
            if waits and name not in self._too_large:
                due.append((not is_update, at, name))
        due.sort(key=itemgetter(0, 1))  # the most urgent request stays before others
        return [name for *_, name in due[: self._ranks.size]]

    def _longer_than_its_share(self, case: Case) -> bool:
        """Tell whether one prediction would take longer than all of them may."""
        plan, geometry = self._plan, case.geometry
        working = working_shape(
            geometry.shape_zyx, geometry.spacing_mm, plan.spacing_mm
        )
        crops = plan.labelled_batch + plan.unlabelled_batch
        held = math.prod(working) / math.prod(plan.patch_zyx)
        return PASSES * held / crops > SHARE * plan.steps

    def _predict(self, name: str, trainer: Trainer) -> Event | None:
        if not self._project.layout.case(name).json.exists():
            return None  # requested before it was removed
        try:
            case = self._project.case(name)
            if case.state is CaseState.EXCLUDED:
                return None
            if self._longer_than_its_share(case):
                self._too_large.add(name)
                return Warned(
                    message=f"case {name} is too large to be predicted while training "
                    f"goes on; it is predicted when the training has ended"
                )
            labels, step = self._project.labels, trainer.step
            cancellation = self._run.cancellation
            made = trainer.predictor(
                cancellation, feature_maps=self._feature_maps
            ).predict(case, labels, self._run.id, step)
            self._run.write_prediction(made, case.image, cancellation)
        except Cancelled:
            return None
        except SemisegError as error:
            return Warned(message=f"case {name} is not predicted: {error}")
        return Predicted(
            case=name,
            uncertainty=made.record.score.uncertainty,
            done=1,
            total=1,
            training_step=step,
        )
