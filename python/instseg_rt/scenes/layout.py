"""What is in a scene and where: a random view, light, room, and objects that stay visible.

All randomness of a scene flows from one generator, in a fixed order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instseg_rt.scenes.camera import Camera, clip_rectangle
from instseg_rt.scenes.shapes import (
    CLASS_NAMES,
    Cone,
    Cube,
    Cylinder,
    Floats,
    Shape,
    Torus,
    make_shape,
    rotate,
)
from instseg_rt.scenes.textures import (
    PaintedTexture,
    Pattern,
    linear_color,
    object_noise,
    paint_texture,
    random_pattern,
    random_srgb,
)

MIN_OBJECTS, MAX_OBJECTS = 2, 7
MIN_VISIBLE_SHARE = 0.35
"""Every object shows at least this share of its silhouette; what is hidden or outside counts as lost."""
MIN_INSIDE_SHARE = 0.6
"""At least this share of every silhouette lies inside the picture."""
MIN_AREA_SHARE = 0.008
"""Every object covers at least this share of the picture."""

_ATTEMPTS_PER_OBJECT = 14
_ATTEMPTS_PER_SCENE = 50


@dataclass(frozen=True)
class Solid:
    """One object: a shape placed in the world, and its material."""

    shape: Shape
    rotation: NDArray[np.float64]  # (3, 3), local to world
    centre: NDArray[np.float64]
    pattern: Pattern
    specular: float
    shininess: float
    reflection: float

    @property
    def class_id(self) -> int:
        return self.shape.class_id

    @property
    def radius(self) -> float:
        return self.shape.bounding_radius

    def enter(self, origin: Floats, direction: Floats) -> Floats:
        """World-frame rays: distance (N,) to the surface, inf for a miss."""
        to_local = self.rotation.T
        local_origin = rotate(to_local, origin - self.centre.astype(np.float32)[:, None])
        return self.shape.enter(local_origin, rotate(to_local, direction))


@dataclass(frozen=True)
class Plane:
    """Ground or wall: points p with p . normal == offset, painted along `across` and `down`."""

    normal: NDArray[np.float64]
    offset: float
    across: NDArray[np.float64]
    down: NDArray[np.float64]
    texture: PaintedTexture
    gloss: float


@dataclass(frozen=True)
class Lighting:
    """A distant key light with an angular size, a fill light without shadow, and the sky around."""

    direction: NDArray[np.float64]  # unit, towards the light
    color: Floats
    angular_radius: float  # radians; 0.005 is hard sunlight, 0.15 a large lamp
    fill_direction: NDArray[np.float64]
    fill_color: Floats
    sky: Floats  # ambient from above, also the picture's upper sky
    horizon: Floats


@dataclass(frozen=True)
class Lens:
    """What the sensor does to the picture."""

    exposure: float
    blur: float  # pixels, sigma; 0 is none
    noise: float  # grey levels, sigma
    vignette: float


@dataclass(frozen=True)
class Layout:
    """A whole scene, ready to be shaded.

    `owner` is (H, W) int8: the index of the solid at each pixel centre, or -1.
    """

    camera: Camera
    planes: tuple[Plane, ...]
    lighting: Lighting
    lens: Lens
    solids: tuple[Solid, ...]
    owner: NDArray[np.int8]


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Uniform over all rotations (a random unit quaternion)."""
    w, x, y, z = (q := rng.standard_normal(4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _turn(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _random_camera(rng: np.random.Generator, height: int, width: int) -> Camera:
    azimuth, elevation = rng.uniform(0, math.tau), math.radians(rng.uniform(9, 62))
    distance = rng.uniform(6, 10)
    outward = np.array(
        [
            math.cos(azimuth) * math.cos(elevation),
            math.sin(azimuth) * math.cos(elevation),
            math.sin(elevation),
        ]
    )
    target = np.array([*rng.uniform(-0.5, 0.5, 2), rng.uniform(0.0, 0.8)])
    roll = math.radians(rng.normal(0, 3))
    view = math.radians(rng.uniform(34, 58))
    return Camera.look_at(
        target + distance * outward, target, roll=roll, field_of_view=view, height=height, width=width
    )


def _random_planes(rng: np.random.Generator, camera: Camera) -> tuple[Plane, ...]:
    turn = _turn(rng.uniform(0, math.tau))
    period = rng.uniform(9, 15)
    ground = Plane(
        normal=np.array([0.0, 0.0, 1.0]),
        offset=0.0,
        across=turn[0],
        down=turn[1],
        texture=paint_texture(rng, period, int(rng.integers(0, 26))),
        gloss=rng.uniform(0, 0.25) if rng.random() < 0.4 else 0.0,
    )
    planes = [ground]
    facing = -math.atan2(camera.axes[2, 1], camera.axes[2, 0])
    room = rng.random()
    if room < 0.55:
        bearings = [rng.uniform(-0.6, 0.6)] if room < 0.35 else [-rng.uniform(0.4, 1.1), rng.uniform(0.4, 1.1)]
        texture = paint_texture(rng, rng.uniform(6, 12), int(rng.integers(0, 16)))
        for bearing in bearings:
            angle = math.pi - facing + bearing
            normal = np.array([math.cos(angle), math.sin(angle), 0.0])
            across = np.array([-normal[1], normal[0], 0.0])
            planes.append(Plane(normal, -rng.uniform(2.2, 6), across, np.array([0.0, 0.0, -1.0]), texture, 0.0))
    return tuple(planes)


def _random_lighting(rng: np.random.Generator, planes: tuple[Plane, ...]) -> Lighting:
    while True:
        azimuth, elevation = rng.uniform(0, math.tau), math.radians(rng.uniform(26, 78))
        direction = np.array(
            [
                math.cos(azimuth) * math.cos(elevation),
                math.sin(azimuth) * math.cos(elevation),
                math.sin(elevation),
            ]
        )
        if all(float(plane.normal @ direction) > 0.15 for plane in planes):
            break
    warm = rng.uniform(-1, 1)
    key = np.array([1 + 0.22 * warm, 1.0, 1 - 0.28 * warm], np.float32) * np.float32(rng.uniform(0.8, 1.25))
    fill = rng.standard_normal(3)
    fill[2] = abs(fill[2]) + 0.3
    sky = random_srgb(rng, (0.0, 0.5), (0.55, 0.95)) if rng.random() < 0.4 else (0.45, 0.62, 0.88)
    ambient = rng.uniform(0.28, 0.6)
    return Lighting(
        direction=direction,
        color=key,
        angular_radius=float(np.exp(rng.uniform(math.log(0.006), math.log(0.16)))),
        fill_direction=fill / np.linalg.norm(fill),
        fill_color=linear_color(random_srgb(rng, (0, 0.4), (0.8, 1))) * np.float32(rng.uniform(0, 0.25)),
        sky=linear_color(sky) * np.float32(ambient / 0.5),
        horizon=linear_color(random_srgb(rng, (0.0, 0.25), (0.75, 1.0))) * np.float32(ambient / 0.5),
    )


def _recognisable(shape: Shape, rotation: NDArray[np.float64], toward_camera: NDArray[np.float64]) -> bool:
    """Whether the view tells the class: no cone or cylinder seen as a bare disc, no cube as a bare square."""
    view = rotation.T @ (toward_camera / np.linalg.norm(toward_camera))
    along = float(view[2])
    if isinstance(shape, Cone):
        return math.acos(-along) > math.atan2(shape.radius, shape.height) + math.radians(22)
    if isinstance(shape, Cylinder):
        return abs(along) < math.cos(math.radians(18))
    if isinstance(shape, Cube):
        return float(np.sort(np.abs(view))[1]) > 0.22
    if isinstance(shape, Torus):
        return abs(along) > math.sin(math.radians(10))
    return True


def _random_solid(rng: np.random.Generator, camera: Camera, planes: tuple[Plane, ...], noise: Floats) -> Solid | None:
    """An object on (or sometimes above) the ground under a random pixel; None where the draw does not fit."""
    class_id = int(rng.integers(len(CLASS_NAMES)))
    short_side = min(camera.height, camera.width)
    size = short_side * math.exp(rng.uniform(math.log(0.11), math.log(0.3)))
    x, y = rng.uniform(0.0, camera.width), rng.uniform(0.0, camera.height)
    upright, floating = rng.random() < 0.45, rng.random() < 0.12
    lift = rng.uniform(0.1, 1.4)
    rotation = _turn(rng.uniform(0, math.tau)) if upright else random_rotation(rng)
    pattern = random_pattern(rng, random_rotation(rng), noise)
    glossy, shininess, mirror = rng.random() < 0.6, math.exp(rng.uniform(2.3, 5.2)), rng.random() < 0.2
    specular, reflection = rng.uniform(0.15, 0.9), rng.uniform(0.15, 0.5)

    direction = camera.axes.T @ (
        (x - camera.width / 2) / camera.focal,
        (y - camera.height / 2) / camera.focal,
        1.0,
    )
    if direction[2] > -0.02:
        return None
    distance = -camera.position[2] / direction[2]  # along the viewing axis
    if distance > 22:
        return None
    shape = make_shape(class_id, size * distance / camera.focal, rng)
    foot = camera.position + distance * direction
    height = shape.reach(rotation.T @ (0.0, 0.0, -1.0)) + (lift if floating else 0.0)
    centre = np.array([foot[0], foot[1], height])
    if any(float(plane.normal @ centre) - plane.offset < shape.bounding_radius for plane in planes[1:]):
        return None
    if not _recognisable(shape, rotation, camera.position - centre):
        return None
    return Solid(
        shape,
        rotation,
        centre,
        pattern,
        specular=specular if glossy else 0.0,
        shininess=shininess,
        reflection=reflection if glossy and mirror else 0.0,
    )


class _Visibility:
    """Pixel-centre silhouettes of the accepted solids, and who is in front."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._origin = camera.position.astype(np.float32)[:, None]
        self._areas: list[int] = []
        self._depth = np.full((camera.height, camera.width), np.inf, np.float32)
        self.owner = np.full((camera.height, camera.width), -1, np.int8)

    def add(self, solid: Solid) -> bool:
        """Take the solid in if it and all before it stay visible enough; else leave everything as it was."""
        camera = self._camera
        rectangle = camera.bounds(solid.centre, solid.radius)
        if rectangle is None:
            return False
        left, top, right, bottom = rectangle
        inside = clip_rectangle(rectangle, camera.height, camera.width)
        if inside[0] >= inside[2] or inside[1] >= inside[3] or (right - left) * (bottom - top) > 4 * self.owner.size:
            return False
        rays = camera.rays(rectangle)
        depth = solid.enter(self._origin, rays.reshape(3, -1)).reshape(rays.shape[1:])
        area = int(np.isfinite(depth).sum())
        window = (slice(inside[1], inside[3]), slice(inside[0], inside[2]))
        depth = depth[inside[1] - top : inside[3] - top, inside[0] - left : inside[2] - left]
        if np.isfinite(depth).sum() < MIN_INSIDE_SHARE * area:
            return False
        owner = self.owner.copy()
        owner[window][depth < self._depth[window]] = len(self._areas)
        areas = [*self._areas, area]
        visible = np.bincount(owner[owner >= 0], minlength=len(areas))
        if any(seen < max(MIN_VISIBLE_SHARE * full, MIN_AREA_SHARE * owner.size) for seen, full in zip(visible, areas)):
            return False
        self._areas, self.owner = areas, owner
        np.minimum(self._depth[window], depth, out=self._depth[window])
        return True


def _apart(solid: Solid, others: list[Solid]) -> bool:
    return all(np.linalg.norm(solid.centre - other.centre) > solid.radius + other.radius for other in others)


def draw_layout(rng: np.random.Generator, height: int, width: int) -> Layout:
    """A random scene for a picture of that size, with `MIN_OBJECTS` to `MAX_OBJECTS` objects.

    Raises RuntimeError if no view holds enough visible objects, which needs a picture of an extreme shape.
    """
    for _ in range(_ATTEMPTS_PER_SCENE):
        camera = _random_camera(rng, height, width)
        planes = _random_planes(rng, camera)
        lighting = _random_lighting(rng, planes)
        noise = object_noise(rng)
        if any(float(plane.normal @ camera.position) - plane.offset < 1 for plane in planes):
            continue
        wanted = int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
        solids: list[Solid] = []
        visibility = _Visibility(camera)
        for _ in range(wanted * _ATTEMPTS_PER_OBJECT):
            solid = _random_solid(rng, camera, planes, noise)
            if solid is not None and _apart(solid, solids) and visibility.add(solid):
                solids.append(solid)
                if len(solids) == wanted:
                    break
        if len(solids) < MIN_OBJECTS:
            continue
        lens = Lens(
            exposure=rng.uniform(0.8, 1.35),
            blur=rng.uniform(0.35, 0.9) if rng.random() < 0.4 else 0.0,
            noise=rng.uniform(0.5, 5.0),
            vignette=rng.uniform(0, 0.3),
        )
        return Layout(camera, planes, lighting, lens, tuple(solids), visibility.owner)
    raise RuntimeError(
        f"no view of {height}x{width} pixels holds {MIN_OBJECTS} visible objects; use a less extreme size"
    )
