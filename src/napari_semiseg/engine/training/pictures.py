"""Keep pictures of one scan, so that people see a training get better."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.cancellation import Cancelled
from napari_semiseg.core.case import CaseState, Split
from napari_semiseg.core.events import Pictured, Warned
from napari_semiseg.engine.data.cache import Cache
from napari_semiseg.errors import SemisegError
from napari_semiseg.imaging.metrics import overlap
from napari_semiseg.imaging.rendering import grey
from napari_semiseg.imaging.sliding_window import GridSampler
from napari_semiseg.imaging.windowing import AUTOMATIC
from napari_semiseg.project.runs.pictures import Pictures

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.events import Event
    from napari_semiseg.core.plan import Plan
    from napari_semiseg.engine.data.cache import Prepared
    from napari_semiseg.engine.training.trainer import Trainer
    from napari_semiseg.project.cases.case import Case
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.runs.run import Run

SHARE = 0.008
"""Part of the training's time, at most, that goes into pictures."""
MOST, FIRST_AT = 16, 0.03
"""Pictures of a training, and the part of it before the first."""
LOADED_PER_S = 1e7
"""Voxels of a scan that are surely read and resampled in a second."""
MEASURED_LABELS = 8
"""Labels that say how high in a scan the structures lie."""


class TrainingPictures:
    """Predicts an axial slice of one scan a few times, and stores what it looks like.

    The windows around that slice are predicted once, without overlap or mirrored
    views. As nothing random is drawn, the training is not touched by it.

    Parameters
    ----------
    project, run
        Whose scan, and where pictures are stored.
    plan : Plan
        Crop and voxel size.
    labelled : sequence of Prepared
        Their masks say at what height to look.
    """

    def __init__(
        self, project: Project, run: Run, plan: Plan, labelled: Sequence[Prepared]
    ) -> None:
        self._project = project
        self._run = run
        self._plan = plan
        self._labelled = labelled[:MEASURED_LABELS]
        self._slab: NDArray[np.float32] | None = None
        self._plane = 0
        self._made: Pictures | None = None
        self._last_took = 0.0
        self._next: float = math.ceil(FIRST_AT * plan.steps)
        self._is_prepared = False

    def events(self, trainer: Trainer) -> Iterator[Event]:
        """Store a picture, when the next one is due and costs little enough."""
        if trainer.step < self._next:
            return
        every = math.ceil(trainer.plan.steps / MOST)
        self._next = trainer.step + every
        try:
            if not self._is_prepared:
                self._begin(trainer)
            made = self._made
            if made is None:
                return
            if made.steps and trainer.step < made.steps[-1] + every:
                self._next = made.steps[-1] + every
            elif self._affordable(trainer, made):
                yield self._picture(trainer, made)
        except Cancelled:
            return
        except SemisegError as error:
            self._next = math.inf
            yield Warned(message=f"no pictures of this training: {error}")

    def _affordable(self, trainer: Trainer, made: Pictures) -> bool:
        total = trainer.seconds * trainer.plan.steps / trainer.step
        return made.spent + self._last_took <= SHARE * total

    def _begin(self, trainer: Trainer) -> None:
        """Choose scan and slice, those of the session before if there was one."""
        self._is_prepared = True
        started, plan = time.perf_counter(), self._plan
        known = Pictures.read(self._run.folder.pictures)
        case = self._scan(None if known is None else known.case)
        if case is None:
            return
        depth, *_ = case.geometry.shape_zyx
        if known is None or known.case != case.id:
            known = None
            index = min(depth - 1, int(self._height(case) * depth))
        else:
            index = known.index
        seconds_per_step = trainer.seconds / trainer.step
        loading = math.prod(case.geometry.shape_zyx) / LOADED_PER_S
        if loading > SHARE * seconds_per_step * trainer.plan.steps:
            return
        image = Cache(self._project, plan).prepare(case, with_label=False).image
        plane = min(image.shape[1] - 1, int((index + 0.5) * image.shape[1] / depth))
        edge = min(plan.patch_zyx[0], image.shape[1])
        first = min(max(0, plane - edge // 2), image.shape[1] - edge)
        self._plane = plane - first
        self._slab = image[:, first : first + edge].astype(np.float32)
        shape = np.maximum(plan.patch_zyx, self._slab.shape[1:]).tolist()
        windows = len(GridSampler(shape, plan.patch_zyx, 1.0))
        crops = plan.labelled_batch + plan.unlabelled_batch
        # A step costs three passes forward for each of its crops.
        self._last_took = windows / crops / 3 * seconds_per_step
        nothing = np.zeros((0, *self._slab.shape[2:]), np.uint8)
        shown = self._slab[0, self._plane]
        known = known or Pictures(
            case=case.id,
            index=index,
            spacing_mm=plan.spacing_mm[1:],
            image=grey(shown, *AUTOMATIC.limits(shown))[..., 0],
            masks=nothing,
            steps=(),
            seconds=(),
            around=nothing,
        )
        spent = known.spent + time.perf_counter() - started
        self._made = replace(known.until(trainer.step), spent=spent)

    def _scan(self, known: str | None) -> Case | None:
        """Choose the smallest scan without a label, else one that only checks."""
        cases = [
            case
            for case in self._project.cases()
            if case.state is not CaseState.EXCLUDED and case.split is not Split.TEST
        ]

        def preference(case: Case) -> tuple[bool, bool, bool, int, str]:
            learnt = case.split is Split.TRAIN and case.has_label
            voxels = math.prod(case.geometry.shape_zyx)
            return case.id != known, learnt, case.has_label, voxels, case.id

        return min(cases, key=preference, default=None)

    def _height(self, case: Case) -> float:
        """Where along z the structures lie, in [0, 1]: by a prediction, else labels."""
        with suppress(SemisegError):
            run = self._project.prediction_run(case)
            reach = None if run is None else run.prediction_record(case).score.reach
            if reach:
                return (sum(reach[0]) + 1) / 2 / case.geometry.shape_zyx[0]
        heights = []
        for one in self._labelled:
            target = np.asarray(one.target)
            area = ((target > 0) & (target < 255)).sum(axis=(1, 2))
            if area.any():
                heights.append((int(area.argmax()) + 0.5) / len(area))
        return float(np.median(heights)) if heights else 0.5

    def _picture(self, trainer: Trainer, known: Pictures) -> Pictured:
        assert self._slab is not None
        started, labels = time.perf_counter(), self._project.labels
        predictor = trainer.predictor(self._run.cancellation)
        indices = predictor.glance(self._slab)
        values = np.array([0, *labels.values], np.uint8)[indices]
        agreement = None
        if known.around.shape == values.shape:
            found = overlap(known.around, values, labels).dice
            present = np.union1d(known.around, values)
            there = [found[one.name] for one in labels if one.value in present]
            agreement = float(np.mean(there)) if there else None
        made = replace(
            known,
            masks=np.concatenate([known.masks, values[self._plane][None]]),
            steps=(*known.steps, trainer.step),
            seconds=(*known.seconds, trainer.seconds),
            around=values,
        )
        self._last_took = time.perf_counter() - started
        self._made = replace(made, spent=known.spent + self._last_took)
        self._made.write(self._run.folder.pictures)
        return Pictured(
            step=trainer.step,
            case=known.case,
            seconds=trainer.seconds,
            agreement=agreement,
        )
