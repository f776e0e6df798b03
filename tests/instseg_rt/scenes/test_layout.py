"""What every drawn layout promises: visible, separate objects above the ground, seen from inside the room."""

from __future__ import annotations

import numpy as np
import pytest

from instseg_rt.scenes.layout import (
    MAX_OBJECTS,
    MIN_AREA_SHARE,
    MIN_INSIDE_SHARE,
    MIN_OBJECTS,
    MIN_VISIBLE_SHARE,
    Layout,
    draw_layout,
    random_rotation,
)
from instseg_rt.scenes.shapes import CLASS_NAMES

SEEDS = range(24)


@pytest.fixture(scope="module")
def layouts() -> list[Layout]:
    return [draw_layout(np.random.default_rng(seed), 160, 200) for seed in SEEDS]


def test_owner_is_the_nearest_solid_at_each_pixel_centre(layouts: list[Layout]) -> None:
    for layout in layouts:
        camera = layout.camera
        rays = camera.rays((0, 0, camera.width, camera.height)).reshape(3, -1)
        origin = camera.position.astype(np.float32)[:, None]
        depth = np.stack([solid.enter(origin, rays) for solid in layout.solids])
        nearest = np.where(np.isfinite(depth).any(axis=0), depth.argmin(axis=0), -1)
        # A patch of rays and the whole picture round alike, so the masks are equal to the pixel.
        np.testing.assert_array_equal(layout.owner.ravel(), nearest)


def test_every_object_is_visible_enough(layouts: list[Layout]) -> None:
    hidden_somewhere = cut_somewhere = 0
    for layout in layouts:
        camera = layout.camera
        margin = 100
        wide = camera.rays((-margin, -margin, camera.width + margin, camera.height + margin))
        origin = camera.position.astype(np.float32)[:, None]
        picture = (slice(margin, margin + camera.height), slice(margin, margin + camera.width))
        for index, solid in enumerate(layout.solids):
            silhouette = np.isfinite(solid.enter(origin, wide.reshape(3, -1))).reshape(wide.shape[1:])
            border = silhouette[[0, -1]].any() or silhouette[:, [0, -1]].any()
            assert not border, "the margin should hold every silhouette"
            full, inside = silhouette.sum(), silhouette[picture].sum()
            visible = (layout.owner == index).sum()
            assert visible >= MIN_VISIBLE_SHARE * full
            assert inside >= MIN_INSIDE_SHARE * full
            assert visible >= MIN_AREA_SHARE * layout.owner.size
            hidden_somewhere += visible < inside
            cut_somewhere += inside < full
    assert hidden_somewhere > 5, "occlusion should occur"
    assert cut_somewhere > 5, "objects should be cut by the border now and then"


def test_objects_are_apart_and_above_ground(layouts: list[Layout]) -> None:
    for layout in layouts:
        assert MIN_OBJECTS <= len(layout.solids) <= MAX_OBJECTS
        for index, solid in enumerate(layout.solids):
            lowest = solid.centre[2] - solid.shape.reach(solid.rotation.T @ np.array([0.0, 0.0, -1.0]))
            assert lowest > -1e-9
            for other in layout.solids[:index]:
                assert np.linalg.norm(solid.centre - other.centre) > solid.radius + other.radius
            for wall in layout.planes[1:]:
                assert wall.normal @ solid.centre - wall.offset >= solid.radius


def test_camera_and_light_are_inside_the_room(layouts: list[Layout]) -> None:
    for layout in layouts:
        for plane in layout.planes:
            assert plane.normal @ layout.camera.position - plane.offset >= 1
            assert plane.normal @ layout.lighting.direction > 0.15


def test_classes_rooms_and_counts_vary(layouts: list[Layout]) -> None:
    assert {solid.class_id for layout in layouts for solid in layout.solids} == set(range(len(CLASS_NAMES)))
    assert {len(layout.planes) for layout in layouts} == {1, 2, 3}
    assert len({len(layout.solids) for layout in layouts}) >= 5


def test_random_rotation_is_a_rotation() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        rotation = random_rotation(rng)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1)
