"""Which scans stand for the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_semiseg.active_learning.candidates import Candidate, Pool


@dataclass(frozen=True, slots=True)
class Variety:
    """Distances between scans, as an encoder sees them, and what is known already.

    Attributes
    ----------
    distances : ndarray (N, N)
        Between candidates, over the largest.
    nearest : ndarray (N,)
        To the nearest scan that has human labels; 1 where there is none at all.
    """

    distances: NDArray[np.float64]
    nearest: NDArray[np.float64]

    def gains(self, nearest: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much nearer all scans were to a labelled one if each were labelled.

        Parameters
        ----------
        nearest : ndarray (N,)
            Distances to the nearest one so far.

        Returns
        -------
        ndarray (N,)
            Mean over the scans, in [0, 1].
        """
        saved = np.maximum(nearest - self.distances, 0)
        return np.asarray(saved.mean(axis=1), dtype=np.float64)

    def chosen(
        self, nearest: NDArray[np.float64], index: int
    ) -> tuple[NDArray[np.float64], int]:
        """Distances once one more is labelled, and how many scans it stands for."""
        nearer = self.distances[index] < nearest
        nearer[index] = True
        return np.minimum(nearest, self.distances[index]), int(nearer.sum())


def variety(pool: Pool) -> Variety | None:
    """Compare the candidates that one model has predicted; None without features.

    Only features of one model can be compared: that of most candidates. Candidates
    without them are as far from every other scan as any two can be.
    """
    from scipy.spatial.distance import cdist

    candidates = pool.candidates
    sized = [_source(item) for item in candidates]
    usual = Counter(source for source in sized if source is not None).most_common(1)
    if not usual:
        return None
    run, length = usual[0][0]
    known = [index for index, source in enumerate(sized) if source == (run, length)]
    rows = [_features(candidates[index]) for index in known]
    labelled = [row for row in pool.covered.get(run, []) if len(row) == length]
    values = np.array([*rows, *labelled], dtype=np.float64)
    spread = values.std(axis=0)
    values = (values - values.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    between = cdist(values, values)
    between /= between.max() or 1.0
    count = len(candidates)
    distances = np.ones((count, count))
    distances[np.ix_(known, known)] = between[: len(known), : len(known)]
    np.fill_diagonal(distances, 0.0)
    begun = [i for i, item in enumerate(candidates) if item.case.annotated_fraction > 0]
    nearest = np.ones(count)
    if labelled:
        nearest[known] = between[: len(known), len(known) :].min(axis=1)
    if begun:
        nearest = np.minimum(nearest, distances[:, begun].min(axis=1))
    return Variety(distances, nearest)


def _features(item: Candidate) -> tuple[float, ...]:
    return () if item.score is None else item.score.features


def _source(item: Candidate) -> tuple[str, int] | None:
    """Which run the features of a scan are of, and how many; None without any."""
    features = _features(item)
    return None if item.run is None or not features else (item.run.id, len(features))
