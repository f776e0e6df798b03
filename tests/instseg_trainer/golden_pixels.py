"""The R-CNN goldens' input to the last pixel, on any processor.

OpenCV's cubic resize of bytes sums 16 products in float32, in an order that depends on the processor. Of three million
values some fifty lie within 1e-5 of the middle between two grey levels, and which way they are rounded depends on that
order; a level more or less is felt by 1e-3 in the tensors next to it. Here the weights are those of OpenCV's IPP build,
to the last bit, and the order is the one that gives the goldens' own mean and standard deviation of both inputs, to
1e-15: with fused products.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Distance from the middle between two grey levels up to which a processor may round either way. Fifty values lie within
# a fifth of it.
TIE = 1e-4

_SHARPNESS = -0.75  # OpenCV's parameter of the cubic kernel


def _weights(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each target pixel its four source pixels, repeated at the border, and their weights: (target, 4) each."""
    position = (np.arange(target) + 0.5) * (source / target) - 0.5
    first = np.floor(position)
    # The fraction is rounded to float32, and once more when it is added to 1.
    fraction = np.float64(np.float32(1) + (position - first).astype(np.float32)) - 1
    distance = np.abs(fraction[:, None] + 1 - np.arange(4))
    a = _SHARPNESS
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    sources = np.clip(first[:, None].astype(np.int64) - 1 + np.arange(4), 0, source - 1)
    return sources, np.where(distance <= 1, near, far)


def exact_cubic(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float64]:
    """(H, W, C) uint8 -> (height, width, C), neither rounded nor clipped."""
    rows, row_weights = _weights(image.shape[0], height)
    columns, column_weights = _weights(image.shape[1], width)
    values = image.astype(np.float64)
    values = sum(values[:, columns[:, k]] * column_weights[None, :, k, None] for k in range(4))
    return sum(values[rows[:, k]] * row_weights[:, k, None, None] for k in range(4))


def distance_to_tie(exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each value to the middle between two grey levels; infinite where it is clipped."""
    return np.where((exact > 0) & (exact < 255), np.abs(exact - np.floor(exact) - 0.5), np.inf)


def _fused(a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]) -> NDArray[np.float32]:
    """a * b + c, rounded once: the product of two float32 is exact in float64."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def golden_pixels(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, C) -> (height, width, C): as the machine of the goldens resized it."""
    rows, row_weights = _weights(image.shape[0], height)
    columns, column_weights = _weights(image.shape[1], width)
    pixels = image.astype(np.float32)
    x = [(pixels[:, columns[:, k]], column_weights.astype(np.float32)[None, :, k, None]) for k in range(4)]
    kept = x[0][0] * x[0][1]
    for values, weights in x[1:]:
        kept = _fused(values, weights, kept)
    y = [(kept[rows[:, k]], row_weights.astype(np.float32)[:, k, None, None]) for k in range(4)]
    first, second = (_fused(*y[k], y[k + 1][0] * y[k + 1][1]) for k in (0, 2))
    return np.clip(np.rint(first + second), 0, 255).astype(np.uint8)
