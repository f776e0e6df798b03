"""The five solids of a scene: where a ray enters them, their normals, and how low they reach.

Every shape lives in its own local frame, whose origin is the centre of its bounding sphere. Ray sets are
arrays (3, N) float32 with unit directions; an origin may also be (3, 1), one for all rays. Lengths are world
units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]  # float32 throughout

CLASS_NAMES = ("sphere", "cube", "cylinder", "cone", "torus")

_TINY = 1e-9
_TRACE_ROUNDS, _TRACE_STEPS = 24, 4  # finished rays are taken out after each round
_TRACE_TOLERANCE = 2e-4


class Shape(Protocol):
    """A closed surface around the local origin."""

    @property
    def class_id(self) -> int:
        """Index into `CLASS_NAMES`."""

    @property
    def bounding_radius(self) -> float:
        """Radius of a sphere around the local origin that holds the whole shape."""

    def reach(self, direction: NDArray[np.float64]) -> float:
        """Largest `point . direction` over the shape; `direction` is a unit 3-vector in the local frame."""

    def enter(self, origin: Floats, direction: Floats) -> Floats:
        """Ray parameter (N,) of the first point on the shape, inf for a miss; meant for origins outside."""

    def normals(self, points: Floats) -> Floats:
        """Unit outward normals (3, N) at surface points (3, N)."""


def dot(a: Floats, b: Floats) -> Floats:
    """Scalar products (N,) of vectors (3, N); written out, as numpy's reduction over 3 rows is slow."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def rotate(matrix: NDArray, vectors: Floats) -> Floats:
    """`matrix @ vectors` for (3, 3) and (3, N) in float32.

    Without BLAS: its threads fight over such small products, and its rounding differs between CPUs.
    """
    out = np.empty((3, vectors.shape[1]), np.float32)
    for i, (a, b, c) in enumerate(matrix.tolist()):
        np.multiply(vectors[0], np.float32(a), out=out[i])
        out[i] += vectors[1] * np.float32(b)
        out[i] += vectors[2] * np.float32(c)
    return out


def _toward_centre(origin: Floats, direction: Floats) -> tuple[Floats, Floats]:
    """Move origins to the rays' points nearest the local origin: keeps float32 quadratics accurate."""
    shift = -dot(origin, direction)
    return origin + shift * direction, shift


def _slab(origin: Floats, direction: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """Interval in which one coordinate of a ray lies in [low, high]."""
    safe = np.where(np.abs(direction) < _TINY, np.float32(_TINY), direction)
    first, second = (low - origin) / safe, (high - origin) / safe
    return np.minimum(first, second), np.maximum(first, second)


def _first_ahead(near: Floats, far: Floats, shift: Floats) -> Floats:
    start = near + shift
    return np.where((near < far) & (start > 0), start, np.float32(np.inf))


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.sqrt(dot(vectors, vectors)), np.float32(_TINY))


def _cylinder_interval(origin: Floats, direction: Floats, radius: float, half_height: float) -> tuple[Floats, Floats]:
    """Interval inside an upright capped cylinder; `near >= far` is a miss."""
    low, high = _slab(origin[2], direction[2], -half_height, half_height)
    a = np.maximum(direction[0] ** 2 + direction[1] ** 2, np.float32(_TINY))
    b = origin[0] * direction[0] + origin[1] * direction[1]
    c = origin[0] ** 2 + origin[1] ** 2 - radius**2
    discriminant = b * b - a * c
    root = np.sqrt(np.maximum(discriminant, 0))
    near, far = np.maximum((-b - root) / a, low), np.minimum((-b + root) / a, high)
    return np.where(discriminant > 0, near, np.float32(np.inf)), far


@dataclass(frozen=True)
class Sphere:
    """A ball."""

    radius: float
    class_id: ClassVar[int] = 0

    @property
    def bounding_radius(self) -> float:
        return self.radius

    def reach(self, direction: NDArray[np.float64]) -> float:
        return self.radius

    def enter(self, origin: Floats, direction: Floats) -> Floats:
        nearest, shift = _toward_centre(origin, direction)
        square = self.radius**2 - dot(nearest, nearest)
        half_chord = np.sqrt(np.maximum(square, 0))
        return _first_ahead(np.where(square > 0, -half_chord, np.float32(np.inf)), half_chord, shift)

    def normals(self, points: Floats) -> Floats:
        return _unit(points)


@dataclass(frozen=True)
class Cube:
    """An axis-aligned cube."""

    half_side: float
    class_id: ClassVar[int] = 1

    @property
    def bounding_radius(self) -> float:
        return self.half_side * math.sqrt(3)

    def reach(self, direction: NDArray[np.float64]) -> float:
        return self.half_side * float(np.abs(direction).sum())

    def enter(self, origin: Floats, direction: Floats) -> Floats:
        origin, shift = _toward_centre(origin, direction)
        bounds = [_slab(origin[i], direction[i], -self.half_side, self.half_side) for i in range(3)]
        near = np.maximum(np.maximum(bounds[0][0], bounds[1][0]), bounds[2][0])
        far = np.minimum(np.minimum(bounds[0][1], bounds[1][1]), bounds[2][1])
        return _first_ahead(near, far, shift)

    def normals(self, points: Floats) -> Floats:
        axis = np.abs(points).argmax(axis=0)
        columns = np.arange(points.shape[1])
        out = np.zeros_like(points)
        out[axis, columns] = np.sign(points[axis, columns])
        return out


@dataclass(frozen=True)
class Cylinder:
    """A capped cylinder along z."""

    radius: float
    half_height: float
    class_id: ClassVar[int] = 2

    @property
    def bounding_radius(self) -> float:
        return math.hypot(self.radius, self.half_height)

    def reach(self, direction: NDArray[np.float64]) -> float:
        along = abs(float(direction[2]))
        return self.half_height * along + self.radius * math.sqrt(max(0.0, 1 - along**2))

    def enter(self, origin: Floats, direction: Floats) -> Floats:
        origin, shift = _toward_centre(origin, direction)
        near, far = _cylinder_interval(origin, direction, self.radius, self.half_height)
        return _first_ahead(near, far, shift)

    def normals(self, points: Floats) -> Floats:
        distance = np.hypot(points[0], points[1])
        on_cap = np.abs(points[2]) - self.half_height > distance - self.radius
        side = _unit(np.stack([points[0], points[1], np.zeros_like(distance)]))
        cap = np.stack([np.zeros_like(distance), np.zeros_like(distance), np.sign(points[2])])
        return np.where(on_cap, cap, side)


@dataclass(frozen=True)
class Cone:
    """A capped cone along z, apex up."""

    radius: float
    height: float
    class_id: ClassVar[int] = 3

    @property
    def base(self) -> float:
        """z of the base disc in the local frame."""
        return -max(0.0, (self.height**2 - self.radius**2) / (2 * self.height))

    @property
    def apex(self) -> float:
        """z of the tip in the local frame."""
        return self.base + self.height

    @property
    def bounding_radius(self) -> float:
        return max(self.radius, (self.height**2 + self.radius**2) / (2 * self.height))

    def reach(self, direction: NDArray[np.float64]) -> float:
        up = float(direction[2])
        return max(self.apex * up, self.base * up + self.radius * math.sqrt(max(0.0, 1 - up**2)))

    def enter(self, origin: Floats, direction: Floats) -> Floats:
        origin, shift = _toward_centre(origin, direction)
        low, high = _slab(origin[2], direction[2], self.base, self.apex)
        slope = (self.radius / self.height) ** 2
        depth = self.apex - origin[2]
        a = direction[0] ** 2 + direction[1] ** 2 - slope * direction[2] ** 2
        a = np.where(np.abs(a) < _TINY, np.float32(_TINY), a)
        b = origin[0] * direction[0] + origin[1] * direction[1] + slope * depth * direction[2]
        c = origin[0] ** 2 + origin[1] ** 2 - slope * depth**2
        discriminant = b * b - a * c
        # b + copysign(root, b) never cancels, so both roots keep their digits even where a is close to zero.
        q = -(b + np.copysign(np.sqrt(np.maximum(discriminant, 0)), b))
        q = np.where(np.abs(q) < _TINY, np.float32(_TINY), q)
        first, second = np.minimum(q / a, c / q), np.maximum(q / a, c / q)
        # a > 0: inside between the roots. a < 0: inside beyond them, one side per half of the double cone;
        # the half below the apex is where a downward ray ends and an upward one begins.
        downward = direction[2] < 0
        inside_from = np.where(a > 0, first, np.where(downward, second, np.float32(-np.inf)))
        inside_to = np.where(a > 0, second, np.where(downward, np.float32(np.inf), first))
        near, far = np.maximum(inside_from, low), np.minimum(inside_to, high)
        return _first_ahead(np.where(discriminant > 0, near, np.float32(np.inf)), far, shift)

    def normals(self, points: Floats) -> Floats:
        slant = math.hypot(self.radius, self.height)
        distance = np.hypot(points[0], points[1])
        outside_side = (distance - (self.apex - points[2]) * (self.radius / self.height)) * (self.height / slant)
        on_base = self.base - points[2] > outside_side
        ring = distance * (self.radius / self.height)
        side = _unit(np.stack([points[0], points[1], ring]))
        base = np.zeros_like(points)
        base[2] = -1
        return np.where(on_base, base, side)


@dataclass(frozen=True)
class Torus:
    """A ring in the xy plane: a tube of radius `tube` around a circle of radius `ring`."""

    ring: float
    tube: float
    class_id: ClassVar[int] = 4

    @property
    def bounding_radius(self) -> float:
        return self.ring + self.tube

    def reach(self, direction: NDArray[np.float64]) -> float:
        return self.ring * math.sqrt(max(0.0, 1 - float(direction[2]) ** 2)) + self.tube

    def enter(self, origin: Floats, direction: Floats) -> Floats:
        """Sphere tracing on the distance field, from where the ray enters the ring's bounding cylinder."""
        origin, shift = _toward_centre(origin, direction)
        near, far = _cylinder_interval(origin, direction, self.bounding_radius, self.tube)
        near = np.maximum(near, -shift)
        result = np.full(near.shape, np.inf, np.float32)
        # Along a ray the squared distance to the axis is quadratic in t, and z linear: no vectors needed.
        active = np.flatnonzero(near < far)
        x, y, z = origin[:, active]
        step_x, step_y, step_z = direction[:, active]
        end, t = far[active], near[active]
        state = [step_x**2 + step_y**2, 2 * (x * step_x + y * step_y), x * x + y * y, z, step_z, end, t]
        tolerance = np.float32(_TRACE_TOLERANCE * self.bounding_radius)
        for _ in range(_TRACE_ROUNDS):
            a, b, c, z, step_z, end, t = state
            for _ in range(_TRACE_STEPS):
                across = np.sqrt(np.maximum((a * t + b) * t + c, 0)) - np.float32(self.ring)
                height = z + t * step_z
                distance = np.sqrt(across * across + height * height) - np.float32(self.tube)
                t = t + distance
            hit = distance < tolerance
            result[active[hit]] = t[hit]
            keep = np.flatnonzero(~hit & (t < end))
            if keep.size == 0:
                break
            active = active[keep]
            state = [values[keep] for values in (a, b, c, z, step_z, end, t)]
        return result + shift

    def normals(self, points: Floats) -> Floats:
        distance = np.maximum(np.hypot(points[0], points[1]), np.float32(_TINY))
        scale = 1 - self.ring / distance
        return _unit(np.stack([points[0] * scale, points[1] * scale, points[2]]))


def make_shape(class_id: int, bounding_radius: float, rng: np.random.Generator) -> Shape:
    """A shape of the class with random proportions, scaled to the bounding radius."""
    if class_id == Sphere.class_id:
        return Sphere(bounding_radius)
    if class_id == Cube.class_id:
        return Cube(bounding_radius / math.sqrt(3))
    if class_id == Cylinder.class_id:
        angle = math.atan(rng.uniform(0.45, 2.4))
        return Cylinder(bounding_radius * math.cos(angle), bounding_radius * math.sin(angle))
    if class_id == Cone.class_id:
        unit = Cone(1.0, rng.uniform(1.2, 3.2))
        scale = bounding_radius / unit.bounding_radius
        return Cone(scale, unit.height * scale)
    if class_id == Torus.class_id:
        thickness = rng.uniform(0.22, 0.55)
        ring = bounding_radius / (1 + thickness)
        return Torus(ring, ring * thickness)
    raise ValueError(f"class_id {class_id} is not one of 0..{len(CLASS_NAMES) - 1} ({', '.join(CLASS_NAMES)})")
