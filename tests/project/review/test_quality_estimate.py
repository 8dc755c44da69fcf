from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.prediction import CaseScore, PredictionRecord
from napari_semiseg.project.review.corrections import Correction
from napari_semiseg.project.review.quality_estimate import (
    LEAST_ERROR,
    MINIMUM,
    Calibration,
    Estimator,
)


def corrected(uncertainty: float | None, dice: float | None, **changes) -> Correction:
    values = {
        "case": "a",
        "by": "Ada",
        "at": 0.0,
        "minutes": 1.0,
        "dice": dice,
        "dice_by_class": {},
        "changed_voxels": 1,
        "run": "r",
        "step": 1,
        "uncertainty": uncertainty,
        "kind": "entropy",
        "seen": True,
        "whole": True,
        "first": True,
    }
    return Correction(**(values | changes))


def predicted(
    uncertainty: float, *, kind: str = "entropy", found: float = 3.0
) -> PredictionRecord:
    return PredictionRecord(
        case="b",
        run="r",
        step=1,
        method="supervised",
        image_sha256="0",
        uncertainty_kind=kind,
        score=CaseScore(
            uncertainty=uncertainty,
            entropy=0,
            gap=0,
            volumes_ml={"wall": found},
            slices=(),
        ),
    )


class TestCalibration:
    def test_a_straight_line_is_found(self) -> None:
        uncertainty = [0.1, 0.2, 0.3, 0.4, 0.5]
        line = Calibration.fit(uncertainty, [1 - u for u in uncertainty])
        assert line.estimate(0.25).dice == pytest.approx(0.75)
        assert line.estimate(0.25).error == LEAST_ERROR

    def test_dice_never_rises_with_uncertainty_and_stays_in_its_range(self) -> None:
        rising = Calibration.fit([0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
        assert rising.slope == 0
        assert rising.estimate(0.9).dice == pytest.approx(0.6)
        falling = Calibration.fit([0.1, 0.2, 0.3], [0.9, 0.5, 0.1])
        assert falling.estimate(0.9).dice == 0
        assert falling.estimate(0.0).dice == 1

    def test_the_error_is_that_of_cases_left_out(self) -> None:
        uncertainty, dice = [0.2, 0.2, 0.2], [0.9, 0.8, 0.7]
        line = Calibration.fit(uncertainty, dice)
        left_out = [0.9 - 0.75, 0.8 - 0.8, 0.7 - 0.85]
        expected = np.sqrt(np.mean(np.square(left_out)))
        assert line.estimate(0.2).error == pytest.approx(expected)

    def test_far_from_the_corrected_cases_the_error_grows(self) -> None:
        line = Calibration.fit([0.1, 0.12, 0.14, 0.16], [0.9, 0.85, 0.87, 0.82])
        assert line.estimate(0.6).error > 5 * line.estimate(0.13).error

    def test_the_error_is_honest_on_simulated_cohorts(self) -> None:
        rng = np.random.default_rng(0)
        within = []
        for _ in range(400):
            u = rng.uniform(0.1, 0.5, 13)
            dice = np.clip(0.98 - 0.5 * u + rng.normal(0, 0.03, 13), 0, 1)
            found = Calibration.fit(u[:12], dice[:12]).estimate(u[12])
            within.append(abs(found.dice - dice[12]) <= found.error)
        assert 0.6 < np.mean(within) < 0.8  # one standard error: 68 %


class TestEstimator:
    def pairs(self, number: int) -> list[Correction]:
        shares = np.linspace(0.1, 0.5, number)
        return [corrected(float(u), 1 - float(u)) for u in shares]

    def test_nothing_is_known_before_enough_cases_are_corrected(self) -> None:
        estimator = Estimator(self.pairs(MINIMUM - 2))
        assert estimator.estimate(predicted(0.3)) is None
        assert estimator.words(predicted(0.3)) == "Dice not yet known: accept 2 more"
        assert Estimator(self.pairs(MINIMUM)).estimate(predicted(0.3)) is not None

    def test_the_estimate_is_said_with_its_error(self) -> None:
        estimator = Estimator(self.pairs(9))
        assert str(estimator.estimate(predicted(0.3))) == "0.70 ± 0.01"
        assert "by 9 predictions that you corrected" in estimator.words(predicted(0.3))

    @pytest.mark.parametrize(
        "changes",
        [{"seen": False}, {"whole": False}, {"first": False}, {"kind": "variance"}],
    )
    def test_only_honest_comparisons_count(self, changes) -> None:
        few = self.pairs(MINIMUM - 1)
        assert Estimator([*few, corrected(0.2, 1.0)]).missing("entropy") == 0
        other = corrected(0.2, 1.0, **changes)
        assert Estimator([*few, other]).missing("entropy") == 1
        assert Estimator([*few, corrected(None, 0.0)]).missing("entropy") == 1
        assert Estimator([*few, corrected(0.1, None)]).missing("entropy") == 1

    def test_an_empty_prediction_is_certain_of_nothing(self) -> None:
        estimator = Estimator(self.pairs(9))
        assert estimator.estimate(predicted(0.01, found=0.0)) is None
        said = estimator.words(predicted(0.01, found=0.0))
        assert said == "Dice not known: nothing was found in it"
