"""Estimate the Dice of predictions from those that people have corrected."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_semiseg.core.text import ranged

if TYPE_CHECKING:
    from napari_semiseg.core.prediction import PredictionRecord
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.corrections import Correction

MINIMUM = 5
"""Corrected cases that are needed before anything is estimated."""
MOST = 200
"""Of more than these, the newest count."""
LEAST_WIDTH = 0.02
"""Smallest width of an interval."""
COVERAGE = 0.8
"""Part of the corrections that shall fall into the intervals: 4 of 5."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Dice that a person's correction would probably give, all in [0, 1].

    Attributes
    ----------
    dice : float
        Mean over the classes.
    low, high : float
        Interval that holds it for four cases of five.
    """

    dice: float
    low: float
    high: float

    def __str__(self) -> str:
        return ranged(self.dice, self.low, self.high)


class Calibration:
    """Straight line from uncertainty to Dice, never rising.

    Its interval is the jackknife+ (Barber, Candès, Ramdas, Tibshirani, Annals of
    Statistics 49, 2021, eq. 1.3): what each line without one case says here, less and
    more what it missed that case by. Fewer than four cases cannot give 80 %: their
    widest interval is taken, which holds n of n + 1.

    Parameters
    ----------
    uncertainty, dice : sequence of float
        Of corrected cases, three at least.
    """

    def __init__(self, uncertainty: Sequence[float], dice: Sequence[float]) -> None:
        x, y = np.asarray(uncertainty, float), np.asarray(dice, float)
        self.count = len(x)
        self._line = _line(x, y)
        others = [np.arange(self.count) != index for index in range(self.count)]
        self._left_out = [_line(x[rest], y[rest]) for rest in others]
        guessed = [_at(line, one) for line, one in zip(self._left_out, x, strict=True)]
        self._missed_by = np.abs(y - guessed)

    def estimate(self, uncertainty: float) -> Estimate:
        """Estimate the Dice of a prediction from its uncertainty."""
        dice = _at(self._line, uncertainty)
        estimates = np.array([_at(line, uncertainty) for line in self._left_out])
        rank = min(self.count, math.ceil(COVERAGE * (self.count + 1))) - 1
        low = -np.sort(self._missed_by - estimates)[rank]
        high = np.sort(self._missed_by + estimates)[rank]
        low = min(low, dice - LEAST_WIDTH / 2)
        high = max(high, dice + LEAST_WIDTH / 2)
        return Estimate(dice, float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1)))


class Estimator:
    """Estimates the Dice of predictions that are not corrected yet.

    Only predictions of the same kind of uncertainty are compared, and only those that
    a person verified, whole, in cases whose own label no model could have learnt.

    Parameters
    ----------
    found : iterable of Correction
        Of the cohort, oldest first.
    """

    def __init__(self, found: Iterable[Correction]) -> None:
        pairs: dict[str, list[tuple[float, float]]] = {}
        for item in found:
            usable = item.verified and item.whole and item.first
            if (
                usable
                and item.kind
                and not (item.uncertainty is None or item.dice is None)
            ):
                pairs.setdefault(item.kind, []).append((item.uncertainty, item.dice))
        self.counts = {kind: len(values) for kind, values in pairs.items()}
        self._lines = {
            kind: Calibration(*zip(*values[-MOST:], strict=True))
            for kind, values in pairs.items()
            if len(values) >= MINIMUM
        }

    def estimate(self, record: PredictionRecord) -> Estimate | None:
        """Estimated Dice; None where it is not known, or nothing was predicted."""
        line = self._lines.get(record.uncertainty_kind)
        if line is None or not any(record.score.volumes_ml.values()):
            return None
        return line.estimate(record.score.uncertainty)

    def newest(self, project: Project, cases: Iterable[str]) -> dict[str, Estimate]:
        """Estimated Dice of the newest predictions of some cases, where known."""
        found, runs = {}, project.prediction_runs()
        for name in cases:
            run = runs.get(name)
            known = None if run is None else self.estimate(run.prediction_record(name))
            if known is not None:
                found[name] = known
        return found

    def missing(self, kind: str) -> int:
        """How many more corrected predictions are needed."""
        return max(0, MINIMUM - self.counts.get(kind, 0))

    def words(self, record: PredictionRecord) -> str:
        """Say the estimate, or why there is none."""
        estimate = self.estimate(record)
        if estimate is not None:
            count = self._lines[record.uncertainty_kind].count
            return (
                f"Dice {estimate} estimated from the uncertainty, by {count} "
                "predictions that you corrected"
            )
        missing = self.missing(record.uncertainty_kind)
        if missing:
            return f"Dice not yet known: accept {missing} more"
        return "Dice not known: nothing was found in it"


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Centre, level and slope (at most 0) of the least squares line."""
    centre, level = float(x.mean()), float(y.mean())
    spread = float(np.square(x - centre).sum())
    slope = float(((x - centre) * (y - level)).sum() / spread) if spread else 0.0
    return centre, level, min(slope, 0.0)


def _at(line: tuple[float, float, float], x: float) -> float:
    """Dice that a line says."""
    centre, level, slope = line
    return min(1.0, max(0.0, level + slope * (x - centre)))
