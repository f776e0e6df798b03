"""Run-length encoding against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from instseg_rt.scenes.rle import encode_mask

mask_utils = pytest.importorskip("pycocotools.mask")


def assert_same(mask: np.ndarray) -> None:
    found = encode_mask(mask)
    expected = mask_utils.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert found.to_coco() == {"size": expected["size"], "counts": expected["counts"].decode()}
    np.testing.assert_array_equal(mask_utils.decode(found.to_coco()).astype(bool), mask)


@settings(deadline=None)
@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_mask(mask: np.ndarray) -> None:
    assert_same(mask)


@pytest.mark.parametrize("value", [False, True])
def test_constant_masks(value: bool) -> None:
    assert_same(np.full((7, 5), value))
    assert_same(np.full((700, 500), value))


def test_runs_of_very_different_length() -> None:
    mask = np.zeros((600, 500), bool)
    mask[3, 0] = mask[5:200, 100] = mask[17, 400] = mask[19, 400] = True
    mask[:, 200:350] = True
    assert_same(mask)


@pytest.mark.parametrize("mask", [np.zeros((2, 2), np.uint8), np.zeros(4, bool), np.zeros((1, 2, 2), bool)])
def test_other_arrays_are_refused(mask: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W\) bool"):
        encode_mask(mask)
