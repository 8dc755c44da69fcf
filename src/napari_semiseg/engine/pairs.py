"""Methods that train two networks of the same kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.engine.dual_task import ConsistencyParams, DualTaskMethod
from napari_semiseg.engine.method import Inference

if TYPE_CHECKING:
    from torch import Tensor, nn


class PairMethod(DualTaskMethod):
    """Two networks that differ by their initial weights."""

    params: ConsistencyParams

    def networks(self) -> dict[str, nn.Module]:
        """Both networks."""
        return {"first": self.task.network(), "second": self.task.network()}

    def infer(self, teachers: dict[str, nn.Module], image: Tensor) -> Inference:
        """Mean of both averaged networks."""
        one, two = (
            super(PairMethod, self).infer({"student": teacher}, image)
            for teacher in teachers.values()
        )
        return Inference(*(0.5 * (a + b) for a, b in zip(one, two, strict=True)))
