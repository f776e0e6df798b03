"""Colours: random palettes, flat textures painted for ground and walls, solid patterns for the objects.

Colours are linear RGB in [0, 1], float32; painted textures are sRGB uint8 until they are sampled.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instseg_rt.scenes.shapes import Floats, dot, rotate

TEXTURE_SIZE = 1024
_NOISE_SIZE = 256
_MIP_LEVELS = 6

Picture = NDArray[np.uint8]


def _srgb_table() -> Floats:
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


SRGB_TO_LINEAR = _srgb_table()


def linear_color(rgb: tuple[float, float, float]) -> Floats:
    """sRGB in [0, 1] to linear."""
    return np.power(np.asarray(rgb, np.float32), np.float32(2.2))


def random_srgb(rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]) -> tuple:
    """An sRGB triple in [0, 1] of any hue."""
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))


def value_noise(rng: np.random.Generator, size: int, first_cells: int, octaves: int, stretch: int = 1) -> Floats:
    """Fractal noise (size, size), mean near 0.5, mostly in [0.15, 0.85]; `stretch` elongates it along x."""
    out = np.zeros((size, size), np.float32)
    weight, total = 1.0, 0.0
    for octave in range(octaves):
        cells = first_cells << octave
        if cells > size:
            break
        grid = rng.random((cells, max(2, cells // stretch)), np.float32)
        out += np.float32(weight) * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        total += weight
        weight *= 0.55
    return out / np.float32(total)


# --- painted textures ---


def _blend(low: tuple, high: tuple, amount: Floats) -> Floats:
    """A picture (H, W, 3) between two colours; `amount` is (H, W)."""
    planes = [amount * np.float32(b - a) + np.float32(a) for a, b in zip(low, high)]
    return np.asarray(cv2.merge(planes), np.float32)


def _related(rng: np.random.Generator, rgb: tuple, spread: float) -> tuple:
    """A neighbour of a colour: another brightness, a slightly different tint."""
    factor = 1 + rng.uniform(-spread, spread)
    return tuple(min(1.0, max(0.0, channel * factor + rng.uniform(-0.2, 0.2) * spread)) for channel in rgb)


def _paint_mottled(rng: np.random.Generator, size: int, base: tuple) -> Floats:
    noise = value_noise(rng, size, int(rng.choice([4, 8, 24])), 5)
    contrast = rng.uniform(1.0, 2.6)
    return _blend(base, _related(rng, base, 0.7), np.clip((noise - 0.5) * contrast + 0.5, 0, 1))


def _cells(size: int, count: int) -> tuple[NDArray[np.intp], Floats]:
    position = (np.arange(size, dtype=np.float32) + 0.5) * (count / size)
    index = position.astype(np.intp)
    return index, position - index.astype(np.float32)


def _paint_tiles(rng: np.random.Generator, size: int, base: tuple) -> Floats:
    count = int(rng.integers(6, 22))
    index, inside = _cells(size, count)
    second = _related(rng, base, 0.8) if rng.random() < 0.6 else random_srgb(rng, (0.05, 0.6), (0.15, 0.9))
    parity = ((index[:, None] + index[None, :]) % 2).astype(np.float32)
    if rng.random() < 0.4:
        parity[:] = 0
    shade = 1 + rng.uniform(0.02, 0.14) * rng.standard_normal((count, count), np.float32)
    out = _blend(base, second, parity)
    cell_shade = np.ascontiguousarray(shade[index[:, None], index[None, :]])
    out = np.asarray(cv2.multiply(out, cv2.merge([cell_shade] * 3)), np.float32)
    if rng.random() < 0.6:
        gap = rng.uniform(0.015, 0.05)
        edge = np.minimum(inside, 1 - inside) < gap
        out[edge[:, None] | edge[None, :]] = random_srgb(rng, (0, 0.2), (0.15, 0.85))
    return out


def _paint_planks(rng: np.random.Generator, size: int, _: tuple) -> Floats:
    brown = colorsys.hsv_to_rgb(rng.uniform(0.05, 0.11), rng.uniform(0.25, 0.65), rng.uniform(0.35, 0.8))
    grain = value_noise(rng, size, 32, 4, stretch=16)
    out = _blend(brown, _related(rng, brown, 0.4), np.clip((grain - 0.5) * 2.2 + 0.5, 0, 1))
    rows = int(rng.integers(8, 18))
    row, inside = _cells(size, rows)
    columns = 3
    for i in range(rows):
        lines = slice(*np.searchsorted(row, [i, i + 1]).tolist())
        cuts = np.sort(rng.integers(0, size, columns))
        for start, stop in zip([0, *cuts], [*cuts, size]):
            out[lines, start:stop] *= np.float32(rng.uniform(0.78, 1.15))
        for cut in cuts:
            out[lines, cut : cut + 3] *= np.float32(0.4)
    out[np.minimum(inside, 1 - inside) < 0.025] *= np.float32(0.4)
    return out


def _paint_stripes(rng: np.random.Generator, size: int, base: tuple) -> Floats:
    count = rng.uniform(6, 26)
    angle = rng.uniform(0, math.pi)
    position = (np.arange(size, dtype=np.float32) / size - 0.5) * count
    wave = np.sin((position[None, :] * math.cos(angle) + position[:, None] * math.sin(angle)) * math.tau)
    second = random_srgb(rng, (0.05, 0.6), (0.2, 0.9))
    return _blend(base, second, np.clip(wave * rng.uniform(1, 12) + 0.5, 0, 1))


_PAINTERS = (_paint_mottled, _paint_mottled, _paint_tiles, _paint_tiles, _paint_planks, _paint_stripes)


def _clutter_points(rng: np.random.Generator, size: int, count: int, reach: float) -> NDArray[np.int32]:
    centre = rng.uniform(0, size, 2)
    return (centre + rng.uniform(-reach, reach, (count, 2))).astype(np.int32)


def _paint_clutter(rng: np.random.Generator, picture: Picture, amount: int) -> None:
    """Flat distractors: what a model must learn to leave alone because it has no volume."""
    size = picture.shape[0]
    for _ in range(amount):
        color = [int(255 * c) for c in random_srgb(rng, (0, 0.9), (0.1, 1.0))]
        reach = size * rng.uniform(0.01, 0.07)
        centre = _clutter_points(rng, size, 1, 0)[0].tolist()
        thickness = int(rng.integers(2, 9)) if rng.random() < 0.4 else -1
        kind = rng.integers(6)
        if kind == 0:
            cv2.circle(picture, centre, int(reach), color, thickness, cv2.LINE_AA)
        elif kind == 1:
            axes = (int(reach), int(reach * rng.uniform(0.3, 1)))
            cv2.ellipse(picture, centre, axes, rng.uniform(0, 180), 0, 360, color, thickness, cv2.LINE_AA)
        elif kind == 2:
            points = _clutter_points(rng, size, int(rng.integers(3, 6)), 1.5 * reach)
            cv2.fillPoly(picture, [cv2.convexHull(points)], color, cv2.LINE_AA)
        elif kind == 3:
            points = _clutter_points(rng, size, int(rng.integers(2, 6)), 4 * reach)
            cv2.polylines(picture, [points], bool(rng.random() < 0.3), color, max(2, thickness), cv2.LINE_AA)
        elif kind == 4:
            corners = cv2.boxPoints((centre, (2 * reach, 2 * reach * rng.uniform(0.3, 1)), rng.uniform(0, 90)))
            cv2.polylines(picture, [corners.astype(np.int32)], True, color, max(2, thickness), cv2.LINE_AA)
            if thickness < 0:
                cv2.fillPoly(picture, [corners.astype(np.int32)], color, cv2.LINE_AA)
        else:
            text = "".join(chr(c) for c in rng.integers(65, 91, int(rng.integers(1, 5))))
            cv2.putText(picture, text, centre, cv2.FONT_HERSHEY_DUPLEX, reach / 20, color, 4, cv2.LINE_AA)


@dataclass(frozen=True)
class PaintedTexture:
    """A mirrored, repeating picture with smaller copies for far surfaces; `period` is its world size."""

    levels: tuple[Picture, ...]
    period: float

    def sample(self, u: Floats, v: Floats, footprint: Floats) -> Floats:
        """Linear RGB (3, N) at plane coordinates (N,); `footprint` is the world length a sample covers."""
        texel = self.period / TEXTURE_SIZE
        level = np.log2(np.maximum(footprint * np.float32(1 / texel), 1)) + np.float32(0.3)
        level = np.minimum(level.astype(np.int8), len(self.levels) - 1)
        scale = np.float32(1 / self.period)
        across, down = (np.abs(c * scale - 2 * np.round(c * (scale / 2))) for c in (u, v))
        out = np.empty((3, u.size), np.float32)
        for index in range(int(level.min(initial=0)), int(level.max(initial=-1)) + 1):
            where = np.flatnonzero(level == index)
            if where.size == 0:
                continue
            picture = self.levels[index]
            limit = np.float32(picture.shape[0])
            maps = [_as_raster(c[where] * limit - np.float32(0.5)) for c in (across, down)]
            colors = cv2.remap(picture, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            out[:, where] = SRGB_TO_LINEAR[colors.reshape(-1, 3)[: where.size].T]
        return out

    @property
    def mean(self) -> Floats:
        """Average linear colour (3,)."""
        return SRGB_TO_LINEAR[self.levels[-1]].reshape(-1, 3).mean(axis=0)


def _as_raster(values: Floats) -> Floats:
    """(N,) to rows of 1024: OpenCV limits a map's height and width to 32767."""
    padded = np.zeros(-(-values.size // 1024) * 1024, np.float32)
    padded[: values.size] = values
    return padded.reshape(-1, 1024)


def _wear(rng: np.random.Generator, size: int, strength: float) -> Floats:
    """Brightness factors (size, size) around 1."""
    coarse = 1 + np.float32(strength) * (value_noise(rng, size // 2, 4, 5) - np.float32(0.5))
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def _resized(picture: Picture, side: int, interpolation: int) -> Picture:
    return np.asarray(cv2.resize(picture, (side, side), interpolation=interpolation), np.uint8)


def paint_texture(rng: np.random.Generator, period: float, clutter: int) -> PaintedTexture:
    """A random surface: mottled, tiled, planks or striped, a little worn, with `clutter` flat shapes."""
    base = random_srgb(rng, (0.0, 0.55), (0.2, 0.95))
    painter = _PAINTERS[int(rng.integers(len(_PAINTERS)))]
    # Grain is generated at half size: it is magnified on the near ground anyway, and costs a quarter.
    half = painter(rng, TEXTURE_SIZE // 2, base)
    wear = _wear(rng, half.shape[0], rng.uniform(0.05, 0.5))
    bytes_half = np.asarray(cv2.multiply(half, cv2.merge([wear] * 3), scale=255, dtype=cv2.CV_8U), np.uint8)
    picture = _resized(bytes_half, TEXTURE_SIZE, cv2.INTER_LINEAR)
    _paint_clutter(rng, picture, clutter)
    levels = [picture]
    for _ in range(_MIP_LEVELS - 1):
        levels.append(_resized(levels[-1], levels[-1].shape[0] // 2, cv2.INTER_AREA))
    return PaintedTexture(tuple(levels), period)


# --- solid patterns ---

PATTERNS = ("plain", "checker", "stripes", "marble", "spots", "mottled")


@dataclass(frozen=True)
class Pattern:
    """A solid two-colour pattern through an object; lengths in units of the object's bounding radius."""

    kind: str
    first: Floats
    second: Floats
    frequency: float
    frame: Floats  # (3, 3) rotation of the pattern inside the object
    offset: Floats  # (3, 1)
    noise: Floats  # (256, 256)

    def sample(self, points: Floats, radius: float) -> Floats:
        """Linear RGB (3, N) at local points (3, N) of an object with that bounding radius."""
        if self.kind == "plain":
            return np.broadcast_to(self.first[:, None], points.shape).copy()
        where = rotate(self.frame, points) * np.float32(self.frequency / radius) + self.offset
        amount = self._amount(where)
        return self.first[:, None] + amount * (self.second - self.first)[:, None]

    def _amount(self, where: Floats) -> Floats:
        if self.kind == "checker":
            return ((np.floor(where[0]) + np.floor(where[1]) + np.floor(where[2])) % 2).astype(np.float32)
        if self.kind == "stripes":
            return (where[2] % 1 < 0.5).astype(np.float32)
        if self.kind == "spots":
            centred = where - np.round(where)
            return (dot(centred, centred) < 0.11).astype(np.float32)
        grain = self._grain(where)
        if self.kind == "marble":
            return (0.5 + 0.5 * np.sin((where[2] + 2.2 * grain) * np.float32(math.tau))).astype(np.float32)
        return np.clip((grain - 0.5) * 4 + 0.5, 0, 1)

    def _grain(self, where: Floats) -> Floats:
        """Noise at 3-D points, out of two slanted slices of the 2-D field."""
        slices = ((where[0] + 0.61 * where[2], where[1] - 0.47 * where[2]), (where[2], where[0] - where[1]))
        total = np.zeros(where.shape[1], np.float32)
        for across, down in slices:
            x, y = (_as_raster(np.abs(c % 8 - 4) * np.float32((_NOISE_SIZE - 1) / 4)) for c in (across, down))
            grain = cv2.remap(self.noise, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            total += grain.ravel()[: total.size]
        return total / 2


def random_pattern(rng: np.random.Generator, frame: NDArray[np.float64], noise: Floats) -> Pattern:
    """Half of the objects are plain; the rest carry one of the other patterns in two contrasting colours."""
    kind = PATTERNS[0] if rng.random() < 0.45 else PATTERNS[int(rng.integers(1, len(PATTERNS)))]
    first = random_srgb(rng, (0.0, 0.95), (0.25, 1.0))
    second = random_srgb(rng, (0.0, 0.95), (0.1, 1.0)) if rng.random() < 0.6 else _related(rng, first, 0.75)
    aligned = rng.random() < 0.6
    return Pattern(
        kind=kind,
        first=linear_color(first),
        second=linear_color(second),
        frequency=rng.uniform(1.2, 3.6),
        frame=(np.eye(3) if aligned else frame).astype(np.float32),
        offset=rng.uniform(0.1, 0.9, (3, 1)).astype(np.float32),
        noise=noise,
    )


def object_noise(rng: np.random.Generator) -> Floats:
    """The noise field that the patterns of one scene share."""
    return value_noise(rng, _NOISE_SIZE, 8, 5)
