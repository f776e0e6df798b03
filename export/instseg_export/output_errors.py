"""How far the outputs of an ONNX graph are from those of the Paddle layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .errors import ExportError

QUERY_OUTPUTS = ("logits", "boxes", "mask_embeddings")
"""Of Mask-RT-DETR: their rows are queries that the graph selects."""
SUPPRESSED_OUTPUT = "scores"
"""Of SOLOv2: set to 0 where a neighbouring cell has a better one."""

_LEAST_MATCHED_ROWS = 0.97
_MOST_FLIPPED_VALUES = 1e-3


def relative_error(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Relative error in the maximum norm: largest |actual - expected| over largest |expected|.

    Not over the mean: almost all class scores are zeros, and ONNX Runtime's sigmoid is exact to 1e-6 of 1, not of its
    own value.
    """
    largest = float(np.abs(expected).max())
    return float(np.abs(actual.astype(np.float64) - expected).max()) / max(largest, 1e-12)


def largest_errors(
    actual: Mapping[str, NDArray[np.float32]], expected: Mapping[str, NDArray[np.float32]]
) -> dict[str, float]:
    """`relative_error` of every output."""
    return {name: relative_error(actual[name], value) for name, value in expected.items()}


def errors_of_matched_rows(
    actual: Mapping[str, NDArray[np.float32]],
    expected: Mapping[str, NDArray[np.float32]],
    per_row: tuple[str, ...],
) -> dict[str, float]:
    """As `largest_errors`, where the rows (second axis) of the outputs `per_row` are a choice; see `matched_rows`.

    Raises `ExportError` where too few rows have each other as the nearest.
    """
    errors, matched, total = matched_rows(actual, expected, per_row)
    if matched < _LEAST_MATCHED_ROWS * total:
        raise ExportError(
            f"ONNX differs from Paddle: only {matched} of {total} rows of {per_row[0]} have a counterpart"
        )
    return errors


def matched_rows(
    actual: Mapping[str, NDArray[np.float32]],
    expected: Mapping[str, NDArray[np.float32]],
    per_row: tuple[str, ...],
) -> tuple[dict[str, float], int, int]:
    """As `largest_errors`, where the rows (second axis) of the outputs `per_row` are a choice: rows of nearly equal
    score may swap places, and of those at the end of the choice another one may be chosen.

    An expected row is compared with the nearest actual one, over the values of all these outputs together. Returns
    also how many rows have each other as the nearest, and how many there are.
    """
    errors = largest_errors(actual, {name: value for name, value in expected.items() if name not in per_row})
    scales = {name: max(float(np.abs(expected[name]).max()), 1e-12) for name in per_row}
    errors |= dict.fromkeys(per_row, 0.0)
    matched = total = 0
    for image in range(len(expected[per_row[0]])):
        ours, theirs = (
            np.concatenate([values[name][image] / scales[name] for name in per_row], axis=1)
            for values in (actual, expected)
        )
        distances = np.stack([np.abs(ours - row).max(axis=1) for row in theirs])  # (expected rows, actual rows)
        nearest = distances.argmin(axis=1)
        mutual = np.flatnonzero(distances.argmin(axis=0)[nearest] == np.arange(len(theirs)))
        # A row that was not chosen on the other side has no counterpart, and another one for its nearest.
        counterpart = distances[mutual, nearest[mutual]] < 0.1
        rows = mutual[counterpart]
        matched, total = matched + len(rows), total + len(theirs)
        for name in per_row:
            difference = np.abs(actual[name][image][nearest[rows]] - expected[name][image][rows])
            errors[name] = max(errors[name], float(difference.max(initial=0.0)) / scales[name])
    return errors, matched, total


def errors_beside_flips(
    actual: Mapping[str, NDArray[np.float32]],
    expected: Mapping[str, NDArray[np.float32]],
    flipping: str,
) -> dict[str, float]:
    """As `largest_errors`, where values of the output `flipping` are set to 0 by comparing floats for equality: a few
    of them are 0 on one side only, and left out. Raises `ExportError` where these are many.
    """
    errors, flipped, total = flipped_values(actual, expected, flipping)
    if flipped > _MOST_FLIPPED_VALUES * total:
        raise ExportError(f"ONNX differs from Paddle: {flipped} of {total} values of {flipping} are 0 on one side")
    return errors


def flipped_values(
    actual: Mapping[str, NDArray[np.float32]],
    expected: Mapping[str, NDArray[np.float32]],
    flipping: str,
) -> tuple[dict[str, float], int, int]:
    """As `largest_errors`, without the values of the output `flipping` that are 0 on one side only; how many these
    are, and how many values it has.
    """
    errors = largest_errors(actual, expected)
    flipped = (actual[flipping] == 0) != (expected[flipping] == 0)
    both = np.where(flipped, expected[flipping], actual[flipping])
    errors |= {flipping: relative_error(both, expected[flipping])}
    return errors, int(flipped.sum()), flipped.size
