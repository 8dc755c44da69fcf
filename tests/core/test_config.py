"""Settings of a training from texts."""

from __future__ import annotations

import pytest

from napari_semiseg.core.config import TrainingConfig
from napari_semiseg.errors import ConfigError


@pytest.mark.parametrize("text", ["[2, 1, 1.5]", "2,1,1.5"])
def test_numbers_of_axes_need_no_brackets(text: str) -> None:
    config = TrainingConfig.build({"spacing_mm": text, "precision": "fp32"})
    assert config.spacing_mm == (2.0, 1.0, 1.5)
    assert config.precision == "fp32"


def test_other_texts_stay_texts() -> None:
    config = TrainingConfig.build({"view": "weak, strong", "weight": "0.5"})
    assert config.params == {"view": "weak, strong", "weight": 0.5}


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="spacing_mm"):
        TrainingConfig.build({"spacing_mm": "fine, fine, coarse"})
