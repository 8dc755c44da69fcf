"""Score a training on held-out cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_semiseg.core.cancellation import Cancelled
from napari_semiseg.core.events import Validated
from napari_semiseg.core.labels import UNANNOTATED
from napari_semiseg.engine.distributed import ALONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_semiseg.core.cancellation import CancellationToken
    from napari_semiseg.core.labels import LabelScheme
    from napari_semiseg.engine.data.cache import Prepared
    from napari_semiseg.engine.distributed import Ranks
    from napari_semiseg.engine.inference.predictor import Predictor
    from napari_semiseg.engine.training.trainer import Trainer


def validate(
    trainer: Trainer,
    cases: Sequence[Prepared],
    labels: LabelScheme,
    cancellation: CancellationToken,
    ranks: Ranks = ALONE,
) -> Validated:
    """Compute the Dice of held-out cases, on the working grid.

    ``cancellation`` as in `Predictor`; each of the ``ranks`` scores a part of the
    cases, and all of them are cancelled where one is.
    """
    predictor = trainer.predictor(cancellation)
    own_scores: dict[str, list[float]] | None = {}
    try:
        own_scores = {
            case.id: _dice(predictor, case, labels) for case in ranks.share(cases)
        }
    except Cancelled:
        own_scores = None
    scores: dict[str, list[float]] = {}
    for found in ranks.gathered(own_scores):
        if found is None:
            raise Cancelled
        scores |= found
    means = np.mean([scores[case.id] for case in cases], axis=0)
    return Validated(
        step=trainer.step,
        dice={item.name: float(mean) for item, mean in zip(labels, means, strict=True)},
        cases={case.id: float(np.mean(scores[case.id])) for case in cases},
    )


def _dice(predictor: Predictor, case: Prepared, labels: LabelScheme) -> list[float]:
    """Dice of each class, 1 where it is in neither mask."""
    assert case.target is not None
    maps = predictor.maps(case.image.astype(np.float32))
    predicted = maps.probabilities.argmax(dim=0).numpy()
    truth = np.asarray(case.target)
    known = truth != UNANNOTATED
    scores = []
    for index in range(1, len(labels) + 1):
        found, expected = (predicted == index) & known, truth == index
        size = int(found.sum() + expected.sum())
        both = 2.0 * float((found & expected).sum())
        scores.append(both / size if size else 1.0)
    return scores
