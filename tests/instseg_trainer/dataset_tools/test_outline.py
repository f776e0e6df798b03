"""Where outlines cross themselves, compared with looking at every pair of edges, and with drawn areas."""

from __future__ import annotations

import numpy as np
import pytest

from instseg_trainer.dataset_tools.outline import crossed_area


def cross(a: np.ndarray, b: np.ndarray) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def edges_cross(points: np.ndarray) -> bool:
    ends = np.roll(points, -1, axis=0)
    for i, (a, b) in enumerate(zip(points, ends, strict=True)):
        for c, d in zip(points[i + 1 :], ends[i + 1 :], strict=True):
            if cross(b - a, c - a) * cross(b - a, d - a) < 0 and cross(d - c, a - c) * cross(d - c, b - c) < 0:
                return True
    return False


@pytest.mark.parametrize(
    ("points", "areas"),
    [
        ([(0, 0), (10, 0), (10, 10), (0, 10)], (100, 0)),
        ([(0, 0), (10, 10), (10, 0), (0, 10)], (25, 25)),
        ([(0, 0), (30, 30), (30, 0), (20, 0), (20, 30)], (250, 100)),
        # Touching is no crossing: two squares that share a corner, and a way there and back.
        ([(0, 0), (5, 0), (5, 5), (10, 5), (10, 10), (5, 10), (5, 5), (0, 5)], (50, 0)),
        ([(0, 0), (10, 0), (10, 10), (15, 10), (10, 10), (0, 10)], (100, 0)),
    ],
)
def test_areas(points: list[tuple[float, float]], areas: tuple[float, float]) -> None:
    outline = np.array(points, dtype=np.float64)
    for start in range(len(outline)):
        for turned in (np.roll(outline, start, axis=0), np.roll(outline, start, axis=0)[::-1]):
            assert crossed_area(turned) == pytest.approx(areas)


def test_random_outlines() -> None:
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(200):
        points = rng.uniform(0, 100, (rng.integers(3, 12), 2))
        crosses = edges_cross(points)
        verdicts.add(crosses)
        largest, rest = crossed_area(points)
        assert (rest > 0) == crosses
        assert largest > 0
    assert verdicts == {True, False}


def test_long_outlines() -> None:
    angles = np.linspace(0, 2 * np.pi, 50_000, endpoint=False)
    circle = 100 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert crossed_area(circle) == pytest.approx((np.pi * 1e4, 0))
    assert crossed_area(np.random.default_rng(0).uniform(0, 100, (50_000, 2)))[1] == np.inf
