"""Rounds: copies of networks that stand still for a part of the training.

What such a copy says of a crop is what a stored prediction would say, and goes on
exactly after a stop, since the copies are in the checkpoint. It costs a pass of each
step instead of a prediction of each scan between two rounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_semiseg.engine.methods.base import Progress
    from napari_semiseg.engine.networks.blocks import SegmentationNetwork


def current_round(t: Progress, begin: float, rounds: int) -> int:
    """Number the equal rounds after the fraction ``begin`` from 0; -1 before it."""
    done = (t.fraction - begin) / (1.0 - begin)
    return -1 if done < 0 else min(rounds - 1, int(done * rounds))


def overwrite(copy: SegmentationNetwork, source: SegmentationNetwork) -> None:
    """Give a copy all weights and statistics of another network."""
    copy.load_state_dict(source.state_dict())
