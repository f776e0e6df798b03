"""What own_operations.py makes of two results."""

from __future__ import annotations

import numpy as np

import instseg_rt as rt
from instseg_rt._core import PackedMask
from own_operations import make_row


def result(*instances: tuple[int, float, tuple[int, int, int, int]]) -> rt.Result:
    """Of (class, score, box), each with a mask that fills its box."""
    masks = []
    for _, _, (x1, y1, x2, y2) in instances:
        mask = np.zeros((40, 60), bool)
        mask[y1:y2, x1:x2] = True
        masks.append(PackedMask.from_dense(mask))
    return rt.Result(
        np.array([box for _, _, box in instances], np.float32),
        np.array([score for _, score, _ in instances], np.float32),
        np.array([class_id for class_id, _, _ in instances], np.int32),
        masks,
        names=("a", "b"),
        orig_shape=(40, 60),
        timings=rt.Timings(inference_ms=3.0, total_ms=4.0),
    )


PLAIN = result((0, 0.9, (0, 0, 20, 20)), (1, 0.5, (30, 10, 50, 30)), (0, 0.4, (5, 25, 20, 35)))


def test_row() -> None:
    moved = result((0, 0.9, (0, 0, 20, 20)), (1, 0.51, (30, 10, 51, 30)), (0, 0.4, (5, 25, 20, 35)))
    row = make_row("model", [PLAIN, PLAIN], [moved, moved])
    same = row.agreement
    assert (same.expected, same.found, same.matched) == (3, 3, 3)
    assert np.isclose(same.score_difference_max, 0.01)
    assert 0 < same.box_pixels_p95 <= 1
    assert (row.ms, row.network_ms) == ([4.0, 4.0], [3.0, 3.0])
    assert row.ratio.median == 1.0
