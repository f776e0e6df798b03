"""Pictures: the same bytes for a seed, masks that fit what is seen, shadows where geometry puts them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from instseg_rt.scenes import CLASS_NAMES, render_scene
from instseg_rt.scenes.camera import Camera
from instseg_rt.scenes.layout import MIN_AREA_SHARE, Layout, Lens, Lighting, Plane, Solid
from instseg_rt.scenes.renderer import shade
from instseg_rt.scenes.shapes import Sphere
from instseg_rt.scenes.textures import PaintedTexture, Pattern

HEIGHT, WIDTH = 120, 160
RADIUS = 0.8
CENTRE = np.array([0.3, 0.2, 1.4])


def flat_layout(*, solid: bool, angular_radius: float = 1e-5, color: tuple = (0.7, 0.02, 0.02)) -> Layout:
    """A red ball over a plain grey ground under a slanted light, with a perfect sensor."""
    camera = Camera.look_at(
        np.array([0.0, -7.0, 4.0]), np.zeros(3), roll=0.0, field_of_view=0.75, height=HEIGHT, width=WIDTH
    )
    grey = np.full((64, 64, 3), 128, np.uint8)
    ground = Plane(np.array([0.0, 0.0, 1.0]), 0.0, np.eye(3)[0], np.eye(3)[1], PaintedTexture((grey,), 10.0), 0.0)
    white = np.ones(3, np.float32)
    lighting = Lighting(
        direction=np.array([-0.48, -0.36, 0.8]),
        color=white,
        angular_radius=angular_radius,
        fill_direction=np.array([0.0, 0.0, 1.0]),
        fill_color=white * 0,
        sky=white * np.float32(0.4),
        horizon=white * np.float32(0.4),
    )
    rgb = np.array(color, np.float32)
    pattern = Pattern("plain", rgb, rgb, 1.0, np.eye(3, dtype=np.float32), np.zeros((3, 1), np.float32), grey[..., 0])
    ball = Solid(Sphere(RADIUS), np.eye(3), CENTRE, pattern, specular=0.0, shininess=10.0, reflection=0.0)
    return Layout(
        camera,
        (ground,),
        lighting,
        Lens(exposure=1.0, blur=0.0, noise=0.0, vignette=0.0),
        (ball,) if solid else (),
        np.full((HEIGHT, WIDTH), -1, np.int8),
    )


def picture(layout: Layout) -> np.ndarray:
    return shade(layout, np.random.default_rng(0)).astype(int)


def rays(camera: Camera) -> np.ndarray:
    """Directions (H, W, 3) through pixel centres, from the definition of a pinhole."""
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5 - WIDTH / 2, np.arange(HEIGHT) + 0.5 - HEIGHT / 2)
    direction = np.stack([x / camera.focal, y / camera.focal, np.ones_like(x)], -1) @ camera.axes
    return direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def line_distance(points: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Distance of the ball's centre from lines through `points`."""
    offset = CENTRE - points
    along = (offset * direction).sum(axis=-1, keepdims=True)
    return np.linalg.norm(offset - along * direction, axis=-1)


def test_same_seed_same_bytes_and_other_seed_other_picture() -> None:
    first, again, other = render_scene(11, 96, 128), render_scene(11, 96, 128), render_scene(12, 96, 128)
    assert first.image.tobytes() == again.image.tobytes()
    assert [i.class_id for i in first.instances] == [i.class_id for i in again.instances]
    for a, b in zip(first.instances, again.instances):
        np.testing.assert_array_equal(a.mask, b.mask)
    assert (first.image != other.image).mean() > 0.5


@pytest.mark.parametrize("seed", range(5))
def test_masks_are_disjoint_large_enough_and_fit_the_image(seed: int) -> None:
    scene = render_scene(seed, 96, 130)
    assert scene.image.shape == (96, 130, 3)
    assert scene.image.dtype == np.uint8
    assert scene.image.std() > 5
    total = np.zeros((96, 130), int)
    for instance in scene.instances:
        assert 0 <= instance.class_id < len(CLASS_NAMES)
        assert instance.mask.shape == (96, 130)
        assert instance.mask.dtype == np.bool_
        assert instance.mask.sum() >= MIN_AREA_SHARE * total.size
        total += instance.mask
    assert total.max() == 1


def test_object_is_drawn_where_geometry_says() -> None:
    image = picture(flat_layout(solid=True))
    red = image[..., 0] > 2 * image[..., 1]
    camera = flat_layout(solid=True).camera
    expected = line_distance(camera.position, rays(camera)) < RADIUS
    assert (red & expected).sum() / (red | expected).sum() > 0.97


def test_hard_shadow_is_where_geometry_says() -> None:
    layout = flat_layout(solid=True)
    with_ball, without = picture(layout), picture(flat_layout(solid=False))
    direction = rays(layout.camera)
    down = direction[..., 2] < -0.02
    points = (
        layout.camera.position
        + direction * (-layout.camera.position[2] / np.where(down, direction[..., 2], -1))[..., None]
    )
    ground = down & (line_distance(layout.camera.position, direction) > RADIUS * 1.05)
    distance = line_distance(points, layout.lighting.direction)
    dark = with_ball[..., 1] < 0.8 * without[..., 1]
    core, outside = ground & (distance < 0.93 * RADIUS), ground & (distance > 1.07 * RADIUS)
    assert core.sum() > 100
    assert dark[core].mean() > 0.99
    assert dark[outside].mean() < 0.01
    far = ground & (np.linalg.norm(points - CENTRE, axis=-1) > 5 * RADIUS) & (distance > 2 * RADIUS)
    np.testing.assert_array_equal(with_ball[far], without[far])


def test_wide_light_gives_a_soft_edge() -> None:
    hard, soft = (picture(flat_layout(solid=True, angular_radius=r)) for r in (1e-5, 0.2))
    steepest = [np.abs(np.diff(image[:, :, 1], axis=1)).max(axis=1) for image in (hard, soft)]
    layout = flat_layout(solid=True)
    foot = CENTRE - layout.lighting.direction * CENTRE[2] / layout.lighting.direction[2]
    row = round(layout_row(layout.camera, foot))
    assert steepest[1][row] < 0.5 * steepest[0][row]


def layout_row(camera: Camera, point: np.ndarray) -> float:
    local = camera.axes @ (point - camera.position)
    return camera.height / 2 + camera.focal * local[1] / local[2]


def test_lit_side_is_brighter() -> None:
    layout = flat_layout(solid=True, color=(0.6, 0.6, 0.6))
    image = picture(layout)
    camera = layout.camera
    sides = []
    for sign in (1, -1):
        across = camera.axes[0] * sign
        toward = across - camera.axes[2]
        point = CENTRE + RADIUS * toward / np.linalg.norm(toward)
        local = camera.axes @ (point - camera.position)
        column = int(camera.width / 2 + camera.focal * local[0] / local[2])
        sides.append(image[int(layout_row(camera, point)), column, 1])
    assert sides[1] > sides[0] + 20, "the light comes from the left"


def test_exposure_and_noise_act() -> None:
    layout = flat_layout(solid=False)
    plain = picture(layout)
    assert picture(replace(layout, lens=replace(layout.lens, exposure=1.5))).mean() > plain.mean() + 5
    noisy = picture(replace(layout, lens=replace(layout.lens, noise=4.0)))
    assert math.isclose((noisy - plain).std(), 4.0, rel_tol=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 20, 320), r"height is 20, expected 64\.\.1600 pixels"),
        ((0, 320, 99999), r"width is 99999, expected 64\.\.1600 pixels"),
        ((-1, 64, 64), r"seed is -1, expected a non-negative integer"),
    ],
)
def test_bad_arguments(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_scene(*arguments)
