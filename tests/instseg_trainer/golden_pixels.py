"""The R-CNN goldens' input to the last pixel, on any processor.

OpenCV's cubic resize of bytes sums 16 products in float32, in an order that depends on the processor. Of three million
values some fifty lie within 1e-5 of the middle between two grey levels, and which way they are rounded depends on that
order; a level more or less is felt by 1e-3 in the tensors next to it. Here the sum is taken in float64, and the values
that the machine of the goldens rounded the other way are listed.

They were found by repeating OpenCV's arithmetic in numpy: that of SSE4.2 and of AVX2 gives what OpenCV gives with them
to the last bit, and one of the orders with fused products gives the goldens' own mean and standard deviation of both
inputs, to 1e-15.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# (row, column, channel) in the resized image a (800 x 1267) and b (800 x 1067).
ROUNDED_THE_OTHER_WAY: dict[str, tuple[tuple[int, int, int], ...]] = {
    "a": (
        (76, 943, 2),
        (128, 665, 2),
        (129, 946, 1),
        (210, 670, 0),
        (224, 274, 0),
        (270, 319, 1),
        (321, 595, 1),
        (346, 449, 2),
        (421, 307, 0),
        (487, 825, 0),
        (489, 1115, 0),
        (490, 564, 1),
        (511, 180, 0),
        (637, 277, 1),
        (790, 773, 0),
    ),
    "b": (
        (63, 880, 1),
        (110, 246, 1),
        (127, 612, 2),
        (145, 241, 1),
        (191, 864, 1),
        (194, 1028, 1),
        (239, 951, 1),
        (283, 607, 1),
        (331, 464, 2),
        (335, 1037, 2),
        (369, 514, 2),
        (376, 501, 1),
        (398, 931, 2),
        (405, 352, 1),
        (410, 460, 2),
        (427, 432, 2),
        (464, 706, 2),
        (476, 47, 0),
        (484, 793, 1),
        (687, 776, 2),
        (689, 431, 0),
        (737, 558, 0),
        (764, 275, 0),
        (778, 202, 1),
    ),
}

# Distance from the middle between two grey levels up to which a processor may round either way. Fifty values lie within
# a fifth of it.
TIE = 1e-4

_SHARPNESS = -0.75  # OpenCV's parameter of the cubic kernel


def _weights(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each target pixel its four source pixels, repeated at the border, and their weights: (target, 4) each."""
    position = (np.arange(target) + 0.5) * (source / target) - 0.5
    first = np.floor(position).astype(np.int64) - 1
    distance = np.abs(position[:, None] - (first[:, None] + np.arange(4)))
    a = _SHARPNESS
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.clip(first[:, None] + np.arange(4), 0, source - 1), np.where(distance <= 1, near, far)


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


def golden_pixels(name: str, exact: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The resized image "a" or "b" as the goldens have it: `exact`, rounded."""
    distance = distance_to_tie(exact)
    # What is half in theory goes to the even level, whatever the last bits say.
    levels = np.clip(np.rint(np.where(distance < 1e-9, np.floor(exact) + 0.5, exact)), 0, 255)
    for place in ROUNDED_THE_OTHER_WAY[name]:
        assert distance[place] < TIE, place
        levels[place] = np.floor(exact[place]) + np.ceil(exact[place]) - levels[place]
    return levels.astype(np.uint8)
