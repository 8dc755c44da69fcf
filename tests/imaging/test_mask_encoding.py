from __future__ import annotations

import numpy as np
import pytest

from napari_semiseg.core.labels import LabelScheme
from napari_semiseg.errors import ConfigError
from napari_semiseg.imaging.mask_encoding import MaskEncoding


@pytest.fixture
def marking() -> MaskEncoding:
    return MaskEncoding(LabelScheme.parse(["1=liver", "254=tumour"]))


def test_proposals_have_values_of_their_own(marking: MaskEncoding) -> None:
    assert marking.proposed == {1: 253, 254: 252}
    classes = np.array([0, 1, 254], np.uint8)
    proposed = marking.propose(classes)
    assert proposed.tolist() == [255, 253, 252]
    assert not marking.annotated(proposed).any()
    assert marking.confirm(proposed).tolist() == classes.tolist()
    assert marking.human(proposed).tolist() == [255, 255, 255]
    assert marking.classes(proposed).tolist() == [255, 1, 254]


def test_what_a_person_said_wins(marking: MaskEncoding) -> None:
    marked = np.array([0, 1, 254, 255, 253], np.uint8)
    assert marking.annotated(marked).tolist() == [True, True, True, False, False]
    other = np.array([1, 0, 0, 254, 0], np.uint8)
    assert marking.fill(marked, other).tolist() == [0, 1, 254, 252, 255]
    assert marking.change(marked, other).tolist() == [1, 0, 0, 252, 255]
    assert marking.human(marked).tolist() == [0, 1, 254, 255, 255]
    assert marking.unconfirm(marked).tolist() == [255, 1, 254, 255, 253]


def test_voxels_are_counted_by_class(marking: MaskEncoding) -> None:
    marked = np.array([0, 1, 253, 253, 252, 255], np.uint8)
    counts = marking.count(np.bincount(marked, minlength=256))
    assert counts == {0: 1, 1: 3, 254: 1, 255: 1}


def test_too_many_classes_are_refused() -> None:
    names = [f"{value}=c{value}" for value in range(1, 129)]
    assert len(MaskEncoding(LabelScheme.parse(names[:127])).proposed) == 127
    with pytest.raises(ConfigError, match="at most 127"):
        MaskEncoding(LabelScheme.parse(names))
