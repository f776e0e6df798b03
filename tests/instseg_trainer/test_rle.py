"""Run-length masks: equal to pycocotools, and safe on hostile input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from instseg_trainer.data.errors import DataError
from instseg_trainer.data.rle import RunLength

masks = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1))


@given(masks)
def test_reads_what_pycocotools_compressed(mask: np.ndarray) -> None:
    rle = coco_mask.encode(np.asfortranarray(mask))
    for counts in (rle["counts"], rle["counts"].decode()):
        data = {"size": list(mask.shape), "counts": counts}
        assert np.array_equal(RunLength.from_coco(data, *mask.shape).decode(), mask)


@given(masks)
def test_reads_uncompressed_runs(mask: np.ndarray) -> None:
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    data = {"size": list(mask.shape), "counts": counts}
    assert np.array_equal(RunLength.from_coco(data, *mask.shape).decode(), mask)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)))
def test_hostile_strings_are_refused_or_fit(counts: bytes | str) -> None:
    try:
        mask = RunLength.from_coco({"size": [9, 11], "counts": counts}, 9, 11).decode()
    except DataError:
        return
    assert mask.shape == (9, 11)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"size": [9, 12], "counts": [99]}, "size is"),
        ({"counts": [99]}, "size is None"),
        ({"size": [9, 11]}, "NoneType"),
        ({"size": [9, 11], "counts": [98]}, "add up to 98"),
        ({"size": [9, 11], "counts": [-1, 100]}, "whole numbers"),
        ({"size": [9, 11], "counts": [99.0]}, "whole numbers"),
        ({"size": [9, 11], "counts": [10**30]}, "whole numbers"),
        ({"size": [9, 11], "counts": "o" * 13}, "endless"),
        ({"size": [9, 11], "counts": "o"}, "middle of a count"),
        ({"size": [9, 11], "counts": "\x01"}, "invalid character"),
        ({"size": [9, 11], "counts": "1" * 10_000}, "too many"),
    ],
)
def test_errors_say_what_is_wrong(data: dict, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        RunLength.from_coco(data, 9, 11)
