"""A prediction with something in it, and answers instead of message boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.key_bindings import coerce_keybinding

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.core.prediction import SliceScore
from napari_semiseg.project.runs.run import Run
from napari_semiseg.widgets.elements.questions import Leave
from synthetic import prediction_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.project.project import Project
    from napari_semiseg.widgets.canvas.case_view import CaseView

WORST = (
    SliceScore(axis=0, index=6, score=0.9, reason="boundary uncertain"),
    SliceScore(axis=1, index=5, score=0.8, reason="heads disagree"),
)
BLOCK = (slice(3, 7), slice(4, 9), slice(4, 8))


class Answers:
    """Answers questions as told and remembers them."""

    def __init__(self, leave: Leave = Leave.SAVE, confirm: bool = True) -> None:
        self.to_leave = leave
        self.to_confirm = confirm
        self.to_choose: str | None = None
        self.asked: list[str] = []

    def leave(self, case_id: str) -> Leave:
        self.asked.append(f"leave {case_id}")
        return self.to_leave

    def confirm(self, title: str, text: str) -> bool:
        self.asked.append(title)
        return self.to_confirm

    def choose(self, title: str, text: str, answers: Sequence[str]) -> str | None:
        self.asked.append(text)
        assert self.to_choose is None or self.to_choose in answers
        return self.to_choose

    def pick(self, title: str, names: Sequence[str]) -> str | None:
        self.asked.append(title)
        return names[0]


def press(view: CaseView, key: str) -> None:
    """Press a key as napari does: the active layer first, then the viewer."""
    wanted = coerce_keybinding(key)
    for provider in (view.viewer.layers.selection.active, view.viewer):
        if provider is not None and wanted in provider.keymap:
            provider.keymap[wanted](provider)
            return
    raise AssertionError(f"{key} is bound to nothing")


def store_prediction(
    project: Project, case_id: str, *, shift: int = 0, sdm_mm: float | None = None
) -> Run:
    """Predict a block, ``shift`` voxels to patient left, by a new run.

    ``sdm_mm`` is the predicted distance everywhere; by default it fits the block.
    """
    case = project.case(case_id)
    labels = np.zeros(case.geometry.shape_zyx, np.uint8)
    labels[BLOCK] = 1
    labels = np.roll(labels, shift, axis=2)
    run = Run.create(project, TrainingConfig(minutes=1))
    uncertainty = np.zeros(labels.shape, np.float32)
    uncertainty[:, :, -3:] = 1
    prediction = prediction_of(
        run,
        case,
        labels,
        sdm_mm=np.where(labels == 1, -2.0, 2.0)
        if sdm_mm is None
        else np.full(labels.shape, sdm_mm),
        doubt=uncertainty,
        uncertainty=0.4,
        entropy=0.2,
        volumes_ml={"a": 1.0},
        slices=WORST,
    )
    run.write_prediction(prediction, case.image)
    return run
