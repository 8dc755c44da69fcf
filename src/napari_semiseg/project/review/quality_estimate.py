"""Estimate the Dice of predictions from those that people have corrected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_semiseg.core.prediction import PredictionRecord
    from napari_semiseg.project.project import Project
    from napari_semiseg.project.review.corrections import Correction

MINIMUM = 5
"""Corrected cases that are needed before anything is estimated."""
MOST = 200
"""Of more than these, the newest count."""
LEAST_ERROR = 0.01
"""Smallest error of an estimate."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Dice that a person's correction would probably give, and its error.

    Attributes
    ----------
    dice : float
        In [0, 1], mean over the classes.
    error : float
        Standard error of the estimate for one case.
    """

    dice: float
    error: float

    def __str__(self) -> str:
        return f"{self.dice:.2f} ± {self.error:.2f}"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Straight line from uncertainty to Dice, never rising.

    The error is the root mean square of the leave-one-out residuals, widened for
    uncertainties far from those of the corrected cases by the prediction variance of
    a straight line (Draper & Smith, Applied Regression Analysis, 3rd ed., eq. 1.4.10).

    Attributes
    ----------
    count : int
        Corrected cases it is made from.
    centre, level : float
        Mean uncertainty and mean Dice of them.
    slope : float
        Change of Dice per unit of uncertainty, at most 0.
    spread : float
        Sum of the squared deviations from ``centre``.
    error : float
        Leave-one-out error, root mean square.
    """

    count: int
    centre: float
    level: float
    slope: float
    spread: float
    error: float

    @classmethod
    def fit(cls, uncertainty: Sequence[float], dice: Sequence[float]) -> Self:
        """Fit by least squares.

        Parameters
        ----------
        uncertainty, dice : sequence of float
            Of corrected cases, two at least.
        """
        x, y = np.asarray(uncertainty, float), np.asarray(dice, float)
        centre, level, slope, spread = _line(x, y)
        left_out = []
        for index in range(len(x)):
            others = np.arange(len(x)) != index
            middle, height, tilt, _ = _line(x[others], y[others])
            guess = np.clip(height + tilt * (x[index] - middle), 0, 1)
            left_out.append(float(y[index] - guess))
        error = float(np.sqrt(np.mean(np.square(left_out))))
        return cls(len(x), centre, level, slope, spread, error)

    def estimate(self, uncertainty: float) -> Estimate:
        """Estimate the Dice of a prediction from its uncertainty."""
        away = uncertainty - self.centre
        dice = float(np.clip(self.level + self.slope * away, 0, 1))
        inside = 1 + 1 / self.count
        far = away**2 / self.spread if self.spread and self.slope else 0.0
        error = self.error * float(np.sqrt((inside + far) / inside))
        return Estimate(dice, max(error, LEAST_ERROR))


class Estimator:
    """Estimates the Dice of predictions that are not corrected yet.

    Only predictions of the same kind of uncertainty are compared, and only those that
    a person looked at, whole, in cases whose own label no model could have learnt.

    Parameters
    ----------
    found : iterable of Correction
        Of the cohort, oldest first.
    """

    def __init__(self, found: Iterable[Correction]) -> None:
        pairs: dict[str, list[tuple[float, float]]] = {}
        for item in found:
            usable = item.seen and item.whole and item.first
            if (
                usable
                and item.kind
                and not (item.uncertainty is None or item.dice is None)
            ):
                pairs.setdefault(item.kind, []).append((item.uncertainty, item.dice))
        self.counts = {kind: len(values) for kind, values in pairs.items()}
        self._lines = {
            kind: Calibration.fit(*zip(*values[-MOST:], strict=True))
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
        found = {}
        for name in cases:
            run = project.prediction_run(name)
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


def _line(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """Centre, level, slope (at most 0) and spread of a straight line."""
    centre, level = float(x.mean()), float(y.mean())
    spread = float(np.square(x - centre).sum())
    slope = float(((x - centre) * (y - level)).sum() / spread) if spread else 0.0
    return centre, level, min(slope, 0.0), spread
