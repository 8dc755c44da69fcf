from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.prediction import CaseScore, PredictionRecord
from napari_semiseg.project.review.corrections import Correction
from napari_semiseg.project.review.quality_estimate import (
    LEAST_WIDTH,
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
        "verified": True,
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
        found = Calibration(uncertainty, [1 - u for u in uncertainty]).estimate(0.25)
        assert found.dice == pytest.approx(0.75)
        assert found.high - found.low == pytest.approx(LEAST_WIDTH)

    def test_dice_never_rises_with_uncertainty_and_stays_in_its_range(self) -> None:
        rising = Calibration([0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
        assert rising.estimate(0.9).dice == pytest.approx(0.6)
        falling = Calibration([0.1, 0.2, 0.3], [0.9, 0.5, 0.1])
        for uncertainty, dice in ((0.9, 0), (0.0, 1)):
            found = falling.estimate(uncertainty)
            assert found.dice == dice
            assert 0 <= found.low <= found.dice <= found.high <= 1

    def test_few_cases_give_what_the_lines_without_each_of_them_miss_it_by(self):
        found = Calibration([0.2, 0.2, 0.2], [0.9, 0.8, 0.7]).estimate(0.2)
        assert found.dice == pytest.approx(0.8)
        assert found.low == pytest.approx(0.75 - 0.15)  # without the best: 0.75
        assert found.high == pytest.approx(0.85 + 0.15)

    def test_far_from_the_corrected_cases_the_interval_grows(self) -> None:
        line = Calibration([0.1, 0.12, 0.14, 0.16], [0.9, 0.85, 0.87, 0.82])
        near, far = line.estimate(0.13), line.estimate(0.4)
        assert far.high - far.low > 2 * (near.high - near.low)

    @pytest.mark.parametrize("count", [10, 20, 60])
    @pytest.mark.parametrize("widening", [0.0, 0.2])
    def test_four_of_five_corrections_fall_into_the_interval(self, count, widening):
        """On cohorts of one noise, and of a noise that grows with the uncertainty."""
        rng = np.random.default_rng(0)
        within = []
        for _ in range(600):
            u = rng.uniform(0.1, 0.5, count + 1)
            noise = rng.normal(0, 0.03 + widening * u)
            dice = np.clip(0.9 - 0.5 * u + noise, 0, 1)
            found = Calibration(u[:-1], dice[:-1]).estimate(u[-1])
            within.append(found.low <= dice[-1] <= found.high)
        assert 0.75 < np.mean(within) < 0.88


class TestEstimator:
    def pairs(self, number: int) -> list[Correction]:
        shares = np.linspace(0.1, 0.5, number)
        return [corrected(float(u), 1 - float(u)) for u in shares]

    def test_nothing_is_known_before_enough_cases_are_corrected(self) -> None:
        estimator = Estimator(self.pairs(MINIMUM - 2))
        assert estimator.estimate(predicted(0.3)) is None
        assert estimator.words(predicted(0.3)) == "Dice not yet known: accept 2 more"
        assert Estimator(self.pairs(MINIMUM)).estimate(predicted(0.3)) is not None

    def test_the_estimate_is_said_with_its_interval(self) -> None:
        estimator = Estimator(self.pairs(9))
        assert str(estimator.estimate(predicted(0.3))) == "0.70 (0.69\u20130.71)"
        assert "by 9 predictions that you corrected" in estimator.words(predicted(0.3))

    @pytest.mark.parametrize(
        "changes",
        [{"verified": False}, {"whole": False}, {"first": False}, {"kind": "variance"}],
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
