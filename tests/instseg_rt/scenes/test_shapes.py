"""Ray intersections against independent geometry: implicit functions, projected hulls, polynomial roots."""

from __future__ import annotations

import math

import numpy as np
import pytest

from instseg_rt.scenes.camera import Camera
from instseg_rt.scenes.shapes import CLASS_NAMES, Cone, Cube, Cylinder, Shape, Sphere, Torus, make_shape

SHAPES = [
    Sphere(0.9),
    Cube(0.6),
    Cylinder(0.5, 0.9),
    Cylinder(0.9, 0.3),
    Cone(0.7, 1.6),
    Cone(1.0, 0.8),
    Torus(0.8, 0.25),
]
IDS = [f"{type(shape).__name__}{i}" for i, shape in enumerate(SHAPES)]


def implicit(shape: Shape, p: np.ndarray) -> np.ndarray:
    """Negative inside, zero on the surface; float64, written independently of the code under test."""
    rho = np.hypot(p[0], p[1])
    match shape:
        case Sphere():
            return np.sqrt((p**2).sum(axis=0)) - shape.radius
        case Cube():
            return np.abs(p).max(axis=0) - shape.half_side
        case Cylinder():
            return np.maximum(rho - shape.radius, np.abs(p[2]) - shape.half_height)
        case Cone():
            lean = (rho - (shape.apex - p[2]) * shape.radius / shape.height) / math.hypot(
                1, shape.radius / shape.height
            )
            return np.maximum(lean, shape.base - p[2])
        case Torus():
            return np.hypot(rho - shape.ring, p[2]) - shape.tube
    raise AssertionError(shape)


def rays_at(shape: Shape, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rays from a far sphere towards points around the shape."""
    rng = np.random.default_rng(seed)
    origin = rng.standard_normal((3, count))
    origin *= 6 / np.linalg.norm(origin, axis=0)
    direction = rng.uniform(-1, 1, (3, count)) * shape.bounding_radius - origin
    direction /= np.linalg.norm(direction, axis=0)
    return origin.astype(np.float32), direction.astype(np.float32)


def marched_entry(shape: Shape, origin: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First inside point on a fine grid of t (inf for none), and the smallest implicit value."""
    t = np.linspace(3.5, 8.5, 4001)
    entry, lowest = np.full(origin.shape[1], np.inf), np.empty(origin.shape[1])
    for i in range(origin.shape[1]):
        line = origin[:, i : i + 1].astype(np.float64) + t * direction[:, i : i + 1]
        values = implicit(shape, line)
        lowest[i] = values.min()
        inside = np.flatnonzero(values < 0)
        if inside.size:
            entry[i] = t[inside[0]]
    return entry, lowest


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_enter_agrees_with_marching(shape: Shape) -> None:
    origin, direction = rays_at(shape, 600, seed=1)
    expected, lowest = marched_entry(shape, origin, direction)
    found = shape.enter(origin, direction)
    clear = np.abs(lowest) > 2e-3  # a grid of 1/800 cannot tell hits from misses closer to the rim
    assert clear.sum() > 500
    np.testing.assert_array_equal(np.isfinite(found)[clear], np.isfinite(expected)[clear])
    both = np.isfinite(found) & np.isfinite(expected)
    assert both.sum() > 100
    assert np.isfinite(expected[clear]).sum() < clear.sum(), "some rays should miss"
    np.testing.assert_allclose(found[both], expected[both], atol=2e-2)
    points = origin[:, both] + found[both] * direction[:, both]
    assert np.abs(implicit(shape, points.astype(np.float64))).max() < 2e-3


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_enter_ignores_what_lies_behind(shape: Shape) -> None:
    origin, direction = rays_at(shape, 200, seed=2)
    assert np.isinf(shape.enter(origin, -direction)).all()


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_normals_are_the_gradient(shape: Shape) -> None:
    origin, direction = rays_at(shape, 2000, seed=3)
    distance = shape.enter(origin, direction)
    hit = np.isfinite(distance)
    points = (origin[:, hit] + distance[hit] * direction[:, hit]).astype(np.float64)
    normals = shape.normals(points.astype(np.float32))
    step = 1e-4
    gradient = np.stack(
        [
            (implicit(shape, points + step * axis[:, None]) - implicit(shape, points - step * axis[:, None]))
            / (2 * step)
            for axis in np.eye(3)
        ]
    )
    np.testing.assert_allclose(np.linalg.norm(normals, axis=0), 1, atol=1e-5)
    away_from_edges = np.abs(np.linalg.norm(gradient, axis=0) - 1) < 1e-3
    assert away_from_edges.mean() > 0.9
    agreement = (normals * gradient).sum(axis=0)[away_from_edges]
    assert np.quantile(agreement, 0.01) > 0.999


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_reach_and_bounding_radius_hold_the_surface_tightly(shape: Shape) -> None:
    origin, direction = rays_at(shape, 20000, seed=4)
    distance = shape.enter(origin, direction)
    hit = np.isfinite(distance)
    points = (origin[:, hit] + distance[hit] * direction[:, hit]).astype(np.float64)
    assert np.linalg.norm(points, axis=0).max() <= shape.bounding_radius + 1e-3
    rng = np.random.default_rng(5)
    for toward in [*np.eye(3), *-np.eye(3), *rng.standard_normal((10, 3))]:
        unit = toward / np.linalg.norm(toward)
        furthest = (unit @ points).max()
        assert furthest <= shape.reach(unit) + 1e-3
        assert furthest > shape.reach(unit) - 0.06


def _camera() -> Camera:
    return Camera.look_at(np.array([3.0, -4.0, 3.0]), np.zeros(3), roll=0.1, field_of_view=0.7, height=160, width=200)


def _local_rays(camera: Camera, rotation: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rays = camera.rays((0, 0, camera.width, camera.height)).reshape(3, -1)
    origin = rotation.T @ (camera.position - centre)
    return origin.astype(np.float32)[:, None], (rotation.T @ rays).astype(np.float32)


def _projected(camera: Camera, points: np.ndarray) -> np.ndarray:
    """World points (3, N) to picture coordinates (N, 2), from the definition of a pinhole."""
    local = camera.axes @ (points - camera.position[:, None])
    return np.stack(
        [
            camera.width / 2 + camera.focal * local[0] / local[2],
            camera.height / 2 + camera.focal * local[1] / local[2],
        ],
        1,
    )


def test_sphere_mask_is_the_analytic_disc() -> None:
    camera, centre, radius = _camera(), np.array([0.4, 0.3, 0.2]), 0.9
    origin, direction = _local_rays(camera, np.eye(3), centre)
    mask = np.isfinite(Sphere(radius).enter(origin, direction))
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    focal = camera.focal
    ray = camera.axes.T @ np.stack(
        [(x - camera.width / 2) / focal, (y - camera.height / 2) / focal, np.ones_like(x)]
    ).reshape(3, -1)
    to_centre = centre - camera.position
    cosine = to_centre @ ray / np.linalg.norm(ray, axis=0) / np.linalg.norm(to_centre)
    angle, limit = np.arccos(cosine), math.asin(radius / np.linalg.norm(to_centre))
    clear = np.abs(angle - limit) > 1e-4
    assert 2000 < mask.sum() < mask.size / 2
    np.testing.assert_array_equal(mask[clear], (angle < limit)[clear])


@pytest.mark.parametrize("shape", [Cube(0.7), Cylinder(0.5, 0.8), Cone(0.7, 1.5)], ids=["cube", "cylinder", "cone"])
def test_convex_mask_is_the_hull_of_the_projected_outline(shape: Shape) -> None:
    cv2 = pytest.importorskip("cv2")
    camera, centre = _camera(), np.array([0.2, -0.1, 0.5])
    rotation = np.linalg.qr(np.random.default_rng(6).standard_normal((3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    turn = np.linspace(0, math.tau, 1440, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)])
    match shape:
        case Cube():
            outline = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1) * shape.half_side
        case Cylinder():
            outline = np.concatenate(
                [ring * shape.radius + [[0], [0], [z]] for z in (-shape.half_height, shape.half_height)], 1
            )
        case Cone():
            outline = np.concatenate([ring * shape.radius + [[0], [0], [shape.base]], [[0], [0], [shape.apex]]], 1)
    hull = cv2.convexHull(_projected(camera, rotation @ outline + centre[:, None]).astype(np.float32))
    origin, direction = _local_rays(camera, rotation, centre)
    mask = np.isfinite(shape.enter(origin, direction)).reshape(camera.height, camera.width)
    distance = np.array(
        [
            [cv2.pointPolygonTest(hull, (x + 0.5, y + 0.5), True) for x in range(camera.width)]
            for y in range(camera.height)
        ]
    )
    clear = np.abs(distance) > 0.01
    assert mask.sum() > 1000
    np.testing.assert_array_equal(mask[clear], (distance > 0)[clear])


def test_torus_mask_is_where_the_quartic_has_real_roots() -> None:
    shape, camera = Torus(0.9, 0.3), _camera()
    origin, direction = _local_rays(camera, np.eye(3), np.zeros(3))
    mask = np.isfinite(shape.enter(origin, direction))
    rng = np.random.default_rng(7)
    chosen = rng.permutation(mask.size)[:4000]
    o, d = origin[:, 0].astype(np.float64), direction[:, chosen].astype(np.float64)
    k = o @ o - shape.tube**2 - shape.ring**2
    od, four = o @ d, 4 * shape.ring**2
    coefficients = np.stack(
        [
            np.ones_like(od),
            4 * od,
            2 * k + 4 * od**2 + four * d[2] ** 2,
            4 * od * k + 2 * four * o[2] * d[2],
            np.full_like(od, k * k - four * (shape.tube**2 - o[2] ** 2)),
        ],
        1,
    )
    imaginary = np.array([np.abs(np.roots(c).imag).min() for c in coefficients])
    clear = (imaginary < 1e-7) | (imaginary > 0.02)
    assert clear.mean() > 0.9
    assert 300 < (imaginary < 1e-7).sum() < 3000
    np.testing.assert_array_equal(mask[chosen][clear], (imaginary < 1e-7)[clear])


def test_make_shape_keeps_class_and_bounding_radius() -> None:
    rng = np.random.default_rng(8)
    for class_id in range(len(CLASS_NAMES)):
        for _ in range(20):
            shape = make_shape(class_id, 0.7, rng)
            assert shape.class_id == class_id
            assert type(shape).__name__.lower() == CLASS_NAMES[class_id]
            assert shape.bounding_radius == pytest.approx(0.7)
    with pytest.raises(ValueError, match=r"class_id 5 is not one of 0\.\.4"):
        make_shape(5, 1.0, rng)
