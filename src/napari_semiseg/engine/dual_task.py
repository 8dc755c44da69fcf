"""What methods with a segmentation and a distance head have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_semiseg.engine.losses import (
    cross_entropy_dice,
    distance_interval,
    soft_dice,
)
from napari_semiseg.engine.method import Inference
from napari_semiseg.engine.ops import gap, soft_mask

if TYPE_CHECKING:
    from torch import Tensor

    from napari_semiseg.engine.method import Batch
    from napari_semiseg.engine.nets import Output


def dual_task_loss(
    output: Output, batch: Batch, steepness: float, distance_weight: float
) -> dict[str, Tensor]:
    """Labelled terms of a two-headed network, on the batch's first L crops.

    The mask of the distance head is compared as well as its distances: regression
    alone moves the boundary between two classes slowly.
    """
    assert output.logits is not None
    assert output.distance is not None
    count = batch.labelled
    regression = distance_interval(
        output.distance[:count], batch.low, batch.high, batch.valid
    )
    mask = soft_mask(output.distance[:count], steepness)
    return {
        "supervised": cross_entropy_dice(
            output.logits[:count], batch.target, batch.valid
        ),
        "distance_mask": soft_dice(mask, batch.target, batch.valid),
        "distance": distance_weight * regression,
    }


def dual_task_inference(
    output: Output, probabilities: Tensor, steepness: float
) -> Inference:
    """Probabilities with the gap to the distance head."""
    assert output.distance is not None
    mask = soft_mask(output.distance, steepness)
    return Inference(probabilities, output.distance, gap(probabilities, mask))
