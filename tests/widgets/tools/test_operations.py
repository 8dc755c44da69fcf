"""What the mask tools compute is a change of the mask that is shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_semiseg.core.labels import UNANNOTATED, LabelScheme
from napari_semiseg.imaging.mask_encoding import MaskEncoding
from napari_semiseg.widgets.tools.operations import (
    BUILT_IN,
    INTERPOLATE_WITH_PREDICTION,
    MOVE_BOUNDARY,
)
from napari_semiseg.widgets.tools.registry import Inputs, Tool

ENCODING = MaskEncoding(LabelScheme.parse(["1=liver", "2=tumour"]))
SPACING = (2.0, 1.0, 0.5)
SHAPE = (5, 6, 7)
AMOUNTS = (-5.0, -1.0, -0.25, 0.0, 0.25, 1.0, 5.0)
WHOLE = [0, 1, 2]
PROPOSED = [UNANNOTATED, *ENCODING.proposed.values()]


def inputs_of(
    mask: np.ndarray, predicted: np.ndarray | None = None, value: int = 1
) -> Inputs:
    return Inputs(
        mask, ENCODING, value, frozenset(), SPACING, mask, predicted=predicted
    )


def run(tool: Tool, inputs: Inputs, amount: float) -> np.ndarray:
    prepared = tool.prepare(inputs) if tool.prepare else inputs
    return tool.run(prepared, amount)


def masks(values: list[int]) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.uint8, SHAPE, elements=st.sampled_from(values))


@pytest.mark.parametrize("values", [WHOLE, PROPOSED, WHOLE + PROPOSED])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_the_boundary_is_moved_from_the_mask_that_is_shown(
    values: list[int], data: st.DataObject
) -> None:
    mask = data.draw(masks(values))
    inputs = inputs_of(mask, predicted=data.draw(masks(WHOLE)))
    assert np.array_equal(run(MOVE_BOUNDARY, inputs, 0), mask)
    before = np.zeros(SHAPE, bool)
    for amount in AMOUNTS:
        result = run(MOVE_BOUNDARY, inputs, amount)
        inside = ENCODING.classes(result) == 1
        assert not (before & ~inside).any()
        before = inside
        if ENCODING.annotated(mask).any() and not set(np.unique(mask)) <= {0, 1, 2}:
            kept = ENCODING.annotated(result) == ENCODING.annotated(mask)
            assert kept.all()


def test_what_is_annotated_stays_while_the_rest_is_proposed() -> None:
    mask = np.full((5, 9, 9), UNANNOTATED, np.uint8)
    mask[:, 3:6, 3:6] = ENCODING.proposed[1]
    mask[2] = 0
    mask[2, 4, 4] = 1
    for amount in AMOUNTS:
        assert np.array_equal(run(MOVE_BOUNDARY, inputs_of(mask), amount)[2], mask[2])


def test_every_slice_is_previewed_as_it_is_applied() -> None:
    mask = np.full((5, 9, 9), UNANNOTATED, np.uint8)
    mask[1:3, 3:6, 3:6] = ENCODING.proposed[1]
    mask[3] = 0
    mask[3, 3:6, 3:6] = 1  # a slice without proposals
    for tool in BUILT_IN:
        if tool.slicewise:
            assert tool.prepare is not None
            prepared = tool.prepare(inputs_of(mask))
            for amount in AMOUNTS:
                whole = tool.run(prepared, amount)
                for axis in range(3):
                    for index in range(mask.shape[axis]):
                        alone = tool.run(prepared.at(axis, index), amount)
                        assert np.array_equal(alone, np.take(whole, index, axis))


def test_filling_in_follows_the_predicted_mask() -> None:
    predicted = np.zeros((61, 12, 12), np.uint8)
    predicted[:, 2:10, 2:10] = 1
    predicted[20:41] = 0
    mask = np.full(predicted.shape, UNANNOTATED, np.uint8)
    mask[[0, 60]] = predicted[[0, 60]]
    blank = replace(inputs_of(mask, predicted), image=np.zeros_like(mask))
    result = run(INTERPOLATE_WITH_PREDICTION, blank, 0)
    assert np.array_equal(result[[0, 60]], mask[[0, 60]])
    classes = ENCODING.confirm(result)
    assert np.array_equal(classes[1:18], predicted[1:18])
    assert not classes[25:36].any()
