"""Outlines that cross themselves: where, and how much of their area hangs on the crossing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from instseg_trainer.data.segmentation import Polygon, polygon_area

# Pairs of edges that are compared at a time; bounds the memory.
_PAIRS_PER_BLOCK = 1 << 20
# An outline with more crossings than this is no outline: the search ends.
_MAXIMUM_CROSSINGS = 2000


def crossed_area(points: Polygon) -> tuple[float, float]:
    """Areas, in square pixels, of the largest simple loop of an outline (k, 2) and of all its other loops together.

    An outline that does not cross itself has one loop: the second number is 0. The outline of a bow tie falls into
    two triangles. Touching itself at a point or along an edge is no crossing. `inf` as the second number: the outline
    crosses itself more often than any drawing does.
    """
    first, second, places = _crossings(points)
    if not len(first):
        return polygon_area(points), 0.0
    if len(first) > _MAXIMUM_CROSSINGS:
        return 0.0, float("inf")
    areas = sorted(abs(area) for area in _loop_areas(points, first, second, places))
    return areas[-1], sum(areas[:-1])


def _crossings(points: Polygon) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of edges (m,), (m,) that cross in their insides, and where (m, 2); edge i goes from point i to the next."""
    start, end = points, np.roll(points, -1, axis=0)
    low, high = np.minimum(start, end)[:, 0], np.maximum(start, end)[:, 0]
    # By rising left end, an edge can only meet those that follow it and begin before it ends.
    order = np.argsort(low, kind="stable")
    sorted_low = low[order]
    reach = np.searchsorted(sorted_low, np.maximum.accumulate(high[order]), side="right")
    count, row, found = len(points), 0, 0
    pairs: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    while row < count and found <= _MAXIMUM_CROSSINGS:
        stop = min(count, row + max(1, _PAIRS_PER_BLOCK // (count - row)))
        left, right = np.meshgrid(order[row:stop], order[row : reach[stop - 1]], indexing="ij")
        upper = np.triu(np.ones(left.shape, dtype=bool), 1)
        left, right = left[upper], right[upper]
        meets = _proper(start[left], end[left], start[right], end[right])
        pairs.append((left[meets], right[meets]))
        found += int(meets.sum())
        row = stop
    a = np.concatenate([pair[0] for pair in pairs]) if pairs else np.zeros(0, np.int64)
    b = np.concatenate([pair[1] for pair in pairs]) if pairs else np.zeros(0, np.int64)
    run, other = end[a] - start[a], end[b] - start[b]
    along = _cross(start[b] - start[a], other) / np.where(a == b, 1.0, _cross(run, other))
    return a, b, start[a] + along[:, None] * run


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _proper(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], d: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether the segments a-b and c-d have one inner point in common; all (m, 2)."""
    ab, cd = b - a, d - c
    return (_cross(ab, c - a) * _cross(ab, d - a) < 0) & (_cross(cd, a - c) * _cross(cd, b - c) < 0)


def _loop_areas(
    points: Polygon, first: NDArray[np.int64], second: NDArray[np.int64], places: NDArray[np.float64]
) -> list[float]:
    """Walks the outline and closes a loop whenever a crossing is met for the second time; the signed areas."""
    on_edge: dict[int, list[tuple[float, int]]] = {}
    for crossing, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        for edge in (a, b):
            distance = float(np.abs(places[crossing] - points[edge]).sum())
            on_edge.setdefault(edge, []).append((distance, crossing))
    path: list[tuple[int, NDArray[np.float64]]] = []  # crossing (-1: none) and place of each point walked so far
    areas: list[float] = []
    for edge in range(len(points)):
        path.append((-1, points[edge]))
        for _, crossing in sorted(on_edge.get(edge, [])):
            begin = next((k for k in range(len(path) - 1, -1, -1) if path[k][0] == crossing), None)
            if begin is not None:
                areas.append(_signed_area(np.array([place for _, place in path[begin:]])))
                del path[begin:]
            path.append((crossing, places[crossing]))
    areas.append(_signed_area(np.array([place for _, place in path])))
    return areas


def _signed_area(points: Polygon) -> float:
    x, y = points[:, 0], points[:, 1]
    return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
