"""Turn a layout into a picture: ray casting, soft shadows, ambient occlusion, reflections, a sensor.

Shading runs on SAMPLES x SAMPLES rays per pixel. Masks do not: a mask holds the pixels whose centre ray meets
the object first, whatever share of the pixel the object covers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instseg_rt.scenes.camera import Camera, clip_rectangle
from instseg_rt.scenes.layout import Layout, Lighting, Plane, Solid, draw_layout
from instseg_rt.scenes.shapes import Floats, Torus, dot, rotate

SCENE_VERSION = 1
"""Changes whenever the same seed gives other bytes."""

SAMPLES = 2
MIN_SIDE, MAX_SIDE = 64, 1600
_SHADOW_CELL = 5  # soft shadows: one of 5 x 5 light directions per ray, averaged over a 5 x 5 neighbourhood
_SURFACE_OFFSET = np.float32(2e-3)
_SKY = -128
_CHUNK = 1 << 15  # points shaded together: their arrays stay in the CPU's cache


@dataclass(frozen=True)
class SceneInstance:
    """One object: index into `CLASS_NAMES` and its visible pixels, (H, W) bool."""

    class_id: int
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """A picture, (H, W, 3) uint8 RGB, and every object in it. The masks are disjoint."""

    image: NDArray[np.uint8]
    instances: tuple[SceneInstance, ...]


def render_scene(seed: int, height: int = 320, width: int = 320) -> Scene:
    """The scene of a seed (a non-negative integer).

    The same seed and size give the same bytes with the same numpy and OpenCV on the same kind of CPU. Each
    side is `MIN_SIDE`..`MAX_SIDE` pixels (ValueError otherwise). Another size is another scene, not this one
    scaled.
    """
    for name, side in (("height", height), ("width", width)):
        if not MIN_SIDE <= side <= MAX_SIDE:
            raise ValueError(f"{name} is {side}, expected {MIN_SIDE}..{MAX_SIDE} pixels")
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected a non-negative integer")
    rng = np.random.Generator(np.random.PCG64(seed))
    layout = draw_layout(rng, height, width)
    instances = tuple(SceneInstance(solid.class_id, layout.owner == index) for index, solid in enumerate(layout.solids))
    return Scene(shade(layout, rng), instances)


@dataclass
class _Surface:
    """Visible points of solid i (owner i) or plane i (owner ~i): raster indices (N,), geometry (3, N)."""

    owner: int
    indices: NDArray[np.intp]
    view: Floats
    points: Floats
    normals: Floats
    albedo: Floats


def shade(layout: Layout, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture of a layout, (H, W, 3) uint8 RGB; `rng` draws the sensor noise and the clouds."""
    camera = layout.camera
    rows, columns = camera.height * SAMPLES, camera.width * SAMPLES
    rays = camera.rays((0, 0, columns, rows), SAMPLES)
    owner, depth = _first_hits(layout, rays)
    radiance = np.empty((3, rows * columns), np.float32)
    rays = rays.reshape(3, -1)
    owner_flat, depth = owner.ravel(), depth.ravel()

    sky = np.flatnonzero(owner_flat == _SKY)
    radiance[:, sky] = _sky_color(layout.lighting, rays[:, sky])
    surfaces: list[_Surface] = []
    for index in range(-len(layout.planes), len(layout.solids)):
        members = np.flatnonzero(owner_flat == index)
        for start in range(0, members.size, _CHUNK):
            surfaces.append(_surface(layout, index, members[start : start + _CHUNK], rays, depth))

    lit = _shadows(layout, surfaces, owner)
    bounce = layout.planes[0].texture.mean
    openness = [_plane_occlusion(layout, plane) for plane in layout.planes]
    for surface in surfaces:
        index = surface.owner
        light = _incoming(layout.lighting, surface, lit[surface.indices], bounce)
        if index >= 0:
            light *= _occlusion(layout.solids, surface.points, surface.normals, index)
        else:
            light *= openness[~index][surface.indices]
        color = surface.albedo
        color *= light
        if index >= 0:
            solid = layout.solids[index]
            _add_gloss(
                color,
                layout.lighting,
                surface,
                lit,
                gloss=(solid.specular, solid.shininess, solid.reflection),
                bounce=bounce,
            )
        elif layout.planes[~index].gloss > 0:
            sheen = (layout.planes[~index].gloss, 40.0, 0.0)
            _add_gloss(color, layout.lighting, surface, lit, gloss=sheen, bounce=bounce)
        radiance[:, surface.indices] = color
    return _develop(radiance.reshape(3, rows, columns), layout, rng)


def _first_hits(layout: Layout, rays: Floats) -> tuple[NDArray[np.int16], Floats]:
    """The first surface along each ray (solid i, ~i for plane i, _SKY for none) and the distance to it."""
    camera = layout.camera
    origin = camera.position.astype(np.float32)[:, None]
    rows, columns = rays.shape[1:]
    owner = np.full((rows, columns), _SKY, np.int16)
    depth = np.full((rows, columns), np.inf, np.float32)
    for index, plane in enumerate(layout.planes):
        slope = dot(plane.normal.astype(np.float32), rays)
        gap = np.float32(plane.offset - float(plane.normal @ camera.position))
        distance = np.where(slope < -1e-4, gap / np.minimum(slope, np.float32(-1e-4)), np.float32(np.inf))
        closer = distance < depth
        owner[closer] = ~index
        np.minimum(depth, distance, out=depth)
    for index, solid in enumerate(layout.solids):
        rectangle = camera.bounds(solid.centre, solid.radius, SAMPLES)
        if rectangle is None:
            continue
        left, top, right, bottom = clip_rectangle(rectangle, rows, columns)
        window = (slice(top, bottom), slice(left, right))
        patch = rays[:, top:bottom, left:right]
        distance = solid.enter(origin, patch.reshape(3, -1)).reshape(patch.shape[1:])
        owner[window][distance < depth[window]] = index
        np.minimum(depth[window], distance, out=depth[window])
    return owner, depth


def _surface(layout: Layout, owner: int, indices: NDArray[np.intp], rays: Floats, depth: Floats) -> _Surface:
    view, distance = rays[:, indices], depth[indices]
    points = layout.camera.position.astype(np.float32)[:, None] + distance * view
    if owner < 0:
        normals, albedo = _plane_material(layout.camera, layout.planes[~owner], points, view, distance)
    else:
        normals, albedo = _solid_material(layout.solids[owner], points)
    return _Surface(owner, indices, view, points, normals, albedo)


def _solid_material(solid: Solid, points: Floats) -> tuple[Floats, Floats]:
    rotation = solid.rotation.astype(np.float32)
    local = rotate(rotation.T, points - solid.centre.astype(np.float32)[:, None])
    normals = rotate(rotation, solid.shape.normals(local))
    return normals, solid.pattern.sample(local, solid.radius)


def _plane_material(
    camera: Camera, plane: Plane, points: Floats, view: Floats, distance: Floats
) -> tuple[Floats, Floats]:
    normal = plane.normal.astype(np.float32)
    across, down = dot(plane.across.astype(np.float32), points), dot(plane.down.astype(np.float32), points)
    # The long side of a sample's footprint, halved: full isotropic filtering smears grazing ground too much.
    slope = np.maximum(-dot(normal, view), np.float32(0.05))
    footprint = distance * np.float32(1 / (camera.focal * SAMPLES)) / np.sqrt(slope)
    albedo = plane.texture.sample(across, down, footprint)
    return np.broadcast_to(normal[:, None], points.shape), albedo


def _sky_color(lighting: Lighting, direction: Floats) -> Floats:
    height = np.clip(direction[2], 0, 1) ** np.float32(0.6)
    return lighting.horizon[:, None] + height * (lighting.sky - lighting.horizon)[:, None]


def _light_frame(lighting: Lighting) -> NDArray[np.float64]:
    """Rows: two unit vectors across the light's direction, and the direction."""
    first = np.cross(lighting.direction, (0.0, 0.0, 1.0))
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(lighting.direction, first), lighting.direction])


def _light_directions(lighting: Lighting) -> Floats:
    """Unit directions (3, cell * cell) spread evenly over the light's disc."""
    count = _SHADOW_CELL**2
    first, second, _ = _light_frame(lighting)
    step = np.arange(count)
    radius = math.tan(lighting.angular_radius) * np.sqrt((step + 0.5) / count)
    angle = step * (math.pi * (3 - math.sqrt(5)))
    spread = lighting.direction[:, None] + radius * (np.cos(angle) * first[:, None] + np.sin(angle) * second[:, None])
    return (spread / np.linalg.norm(spread, axis=0)).astype(np.float32)


def _shadows(layout: Layout, surfaces: list[_Surface], owner: NDArray[np.int16]) -> Floats:
    """Share of the key light that reaches each sample, (rows * columns,)."""
    lighting = layout.lighting
    rows, columns = owner.shape
    # Neighbouring rays use different points of the light; stride 7 keeps the directions of a row far apart.
    cell = (np.arange(_SHADOW_CELL**2) * 7 % _SHADOW_CELL**2).reshape(_SHADOW_CELL, _SHADOW_CELL)
    pattern = np.tile(cell, (-(-rows // _SHADOW_CELL), -(-columns // _SHADOW_CELL)))[:rows, :columns].ravel()
    directions = _light_directions(lighting)
    frame = _light_frame(lighting).astype(np.float32)
    spread = math.tan(lighting.angular_radius)
    lit = np.ones(rows * columns, np.float32)
    for surface in surfaces:
        index = surface.owner
        points, indices = surface.points, surface.indices
        if index >= 0:
            facing = np.flatnonzero(dot(frame[2], surface.normals) > -spread)
            points = points[:, facing] + _SURFACE_OFFSET * surface.normals[:, facing]
            indices = indices[facing]
        if indices.size == 0:
            continue
        in_light = rotate(frame, points)
        low, high = in_light.min(axis=1), in_light.max(axis=1)
        for other, solid in enumerate(layout.solids):
            # A convex solid shades itself only where it faces away, which the cosine term already says.
            if other == index and not isinstance(solid.shape, Torus):
                continue
            near = _near_shadow(in_light, (low, high), frame @ solid.centre, solid.radius, spread)
            if near.size == 0:
                continue
            blocked = np.isfinite(solid.enter(points[:, near], directions[:, pattern[indices[near]]]))
            lit[indices[near[blocked]]] = 0
    return _smooth_within(lit.reshape(rows, columns), owner, len(layout.planes), len(layout.solids)).ravel()


def _near_shadow(
    points: Floats, limits: tuple[Floats, Floats], centre: Floats, radius: float, spread: float
) -> NDArray[np.intp]:
    """Which points a sphere may shade; all in the light's frame, whose third axis points to the light.

    `limits` are the points' smallest and largest coordinates.
    """
    x, y, z = centre.tolist()
    low, high = limits
    reach = radius + spread * max(0.0, z - float(low[2]))
    if x - reach > high[0] or x + reach < low[0] or y - reach > high[1] or y + reach < low[1] or z + radius < low[2]:
        return np.empty(0, np.intp)
    near = np.flatnonzero(np.abs(points[0] - x) < reach)
    along = z - points[2, near]
    reach_here = radius + spread * np.maximum(along, 0)
    square = (points[0, near] - x) ** 2 + (points[1, near] - y) ** 2
    return near[(along > -radius) & (square < reach_here * reach_here)]


def _smooth_within(values: Floats, owner: NDArray[np.int16], planes: int, solids: int) -> Floats:
    """Box average over the shadow cell, taken only from samples of the same surface."""
    size = (_SHADOW_CELL, _SHADOW_CELL)
    out = values.copy()
    margin = _SHADOW_CELL
    for index in range(-planes, solids):
        member = owner == index
        if not member.any():
            continue
        left, top, width, height = cv2.boundingRect(member.astype(np.uint8))
        window = (
            slice(max(0, top - margin), top + height + margin),
            slice(max(0, left - margin), left + width + margin),
        )
        inside = member[window]
        weight = inside.astype(np.float32)
        total = cv2.blur(values[window] * weight, size, borderType=cv2.BORDER_CONSTANT)
        share = cv2.blur(weight, size, borderType=cv2.BORDER_CONSTANT)
        out[window][inside] = total[inside] / share[inside]
    return out


def _incoming(lighting: Lighting, surface: _Surface, lit: Floats, bounce: Floats) -> Floats:
    """Diffuse light (3, N) arriving at a surface."""
    normals = surface.normals
    key = np.maximum(dot(lighting.direction.astype(np.float32), normals), 0) * lit
    fill = np.maximum(dot(lighting.fill_direction.astype(np.float32), normals), 0)
    upward = 0.5 + 0.5 * normals[2]
    near_ground = np.clip(0.3 + surface.points[2], 0.3, 1)
    ambient_up = lighting.horizon * np.float32(0.35) + lighting.sky * np.float32(0.25)
    ambient_down = bounce * (lighting.color * np.float32(0.3) + ambient_up * np.float32(0.4))
    out = lighting.color[:, None] * key + lighting.fill_color[:, None] * fill
    out += ambient_up[:, None] * upward + ambient_down[:, None] * ((1 - upward) * near_ground)
    return out


def _plane_occlusion(layout: Layout, plane: Plane) -> Floats:
    """Openness of a plane at every sample of the picture, (rows * columns,); smooth, so made coarsely."""
    camera = layout.camera
    rays = camera.rays((0, 0, camera.width, camera.height))[:, ::2, ::2]
    directions = rays.reshape(3, -1)
    normal = plane.normal.astype(np.float32)
    gap = np.float32(plane.offset - float(plane.normal @ camera.position))
    distance = gap / np.minimum(dot(normal, directions), np.float32(-0.02))
    points = camera.position.astype(np.float32)[:, None] + distance * directions
    normals = np.broadcast_to(normal[:, None], points.shape)
    coarse = _occlusion(layout.solids, points, normals, -1).reshape(rays.shape[1:])
    size = (camera.width * SAMPLES, camera.height * SAMPLES)
    return np.asarray(cv2.resize(coarse, size), np.float32).ravel()


def _occlusion(solids: tuple[Solid, ...], points: Floats, normals: Floats, index: int) -> Floats:
    """How open the surroundings are, (N,) in (0, 1]; each other solid hides sky like a smaller sphere."""
    out = np.ones(points.shape[1], np.float32)
    for other, solid in enumerate(solids):
        if other == index:
            continue
        radius = np.float32(0.8 * solid.radius)
        centre = solid.centre.astype(np.float32)[:, None]
        near = np.flatnonzero(np.abs(centre[0] - points[0]) < 4 * radius)
        near = near[np.abs(centre[1] - points[1, near]) < 4 * radius]
        if near.size == 0:
            continue
        offset = centre - points[:, near]
        square = np.maximum(dot(offset, offset), radius * radius)
        cosine = dot(normals[:, near], offset) / np.sqrt(square)
        hidden = np.maximum(cosine, 0) * radius * radius * (1 / square - 1 / (4 * radius) ** 2)
        out[near] *= 1 - np.float32(0.75) * np.clip(hidden, 0, 1)
    return out


def _add_gloss(
    color: Floats,
    lighting: Lighting,
    surface: _Surface,
    lit: Floats,
    *,
    gloss: tuple[float, float, float],
    bounce: Floats,
) -> None:
    """Highlight and mirrored surroundings, added in place.

    `gloss` is specular strength, exponent, mirror strength.
    """
    specular, shininess, reflection = gloss
    if specular == 0 and reflection == 0:
        return
    normals, view = surface.normals, surface.view
    facing = dot(view, normals)
    mirrored = view - 2 * facing * normals
    toward_light = np.clip(dot(lighting.direction.astype(np.float32), mirrored), 0, 1)
    highlight = toward_light ** np.float32(shininess) * (np.float32(specular) * lit[surface.indices])
    color += lighting.color[:, None] * highlight
    if reflection > 0:
        fresnel = np.float32(reflection) + np.float32(1 - reflection) * (1 - np.clip(-facing, 0, 1)) ** 4 * np.float32(
            0.5
        )
        blend = np.clip(mirrored[2] * 6 + 0.5, 0, 1)
        ground = (bounce * (lighting.color * np.float32(0.6)))[:, None]
        color += fresnel * (ground + blend * (_sky_color(lighting, mirrored) - ground) - color)


def _develop(radiance: Floats, layout: Layout, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Linear samples (3, rows, columns) to an 8-bit sRGB-like picture."""
    height, width, lens = layout.camera.height, layout.camera.width, layout.lens
    # Highlights are compressed before averaging, else their edges stay jagged.
    channels = []
    for channel in radiance:
        exposed = np.minimum(channel * np.float32(lens.exposure), 4)
        exposed *= (1 + exposed * np.float32(1 / 6.25)) / (1 + exposed) * np.float32(1.55)
        channels.append(cv2.resize(exposed, (width, height), interpolation=cv2.INTER_AREA))
    picture = cv2.merge(channels)
    if lens.blur > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), lens.blur)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    picture = picture * (1 - np.float32(lens.vignette / 2) * (x * x + y * y))[..., None]
    levels = np.power(np.clip(picture, 0, 1), np.float32(1 / 2.2)) * 255
    levels += rng.standard_normal(levels.shape, np.float32) * np.float32(lens.noise)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
