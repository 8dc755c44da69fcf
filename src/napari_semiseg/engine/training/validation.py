"""Score a training on held-out cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_semiseg.core.labels import UNANNOTATED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.core.cancellation import CancellationToken
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.engine.data.cache import Prepared
    from napari_semiseg.engine.training.trainer import Trainer


def validation_dice(
    trainer: Trainer,
    cases: Sequence[Prepared],
    labels: LabelScheme,
    cancellation: CancellationToken,
) -> dict[str, float]:
    """Compute the mean Dice per class of held-out cases, on the working grid.

    ``cancellation`` as in `Predictor`.
    """
    predictor = trainer.predictor(cancellation)
    scores: dict[str, list[float]] = {item.name: [] for item in labels}
    for case in cases:
        assert case.target is not None
        maps = predictor.maps(torch.from_numpy(case.image.astype(np.float32)))
        predicted = maps.probabilities.argmax(dim=0).numpy()
        truth = np.asarray(case.target)
        known = truth != UNANNOTATED
        for index, item in enumerate(labels, start=1):
            found, expected = (predicted == index) & known, truth == index
            size = int(found.sum() + expected.sum())
            both = 2.0 * float((found & expected).sum())
            scores[item.name].append(both / size if size else 1.0)
    return {name: float(np.mean(values)) for name, values in scores.items()}
