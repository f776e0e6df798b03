"""Augmentation: geometry stays consistent, colours follow Pillow, chance comes from the generator alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from instseg_trainer.data import CocoDataset, DataError, Sample, Transform, build_transforms
from instseg_trainer.data.distort import (
    RandomDistort,
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    shift_hue,
)
from instseg_trainer.data.resize import BatchRandomResize, RandomResize, Resize
from instseg_trainer.data.transforms import RandomCrop, RandomExpand, RandomFlip, crop

Colour = Callable[[int], tuple[int, int, int]]

GEOMETRY: dict[str, tuple[Transform, ...]] = {
    "flip": (RandomFlip(prob=1.0),),
    "expand": (RandomExpand(prob=0.0),),
    "crop": (RandomCrop(),),
    "stretch": (Resize((320, 256), keep_ratio=False, interp=cv2.INTER_NEAREST),),
    "fit": (Resize((300, 400), keep_ratio=True, interp=cv2.INTER_NEAREST),),
    "random fit": (RandomResize(((128, 400), (170, 200)), interp=cv2.INTER_NEAREST),),
    "all": (
        RandomExpand(),
        RandomCrop(),
        RandomFlip(),
        Resize((320, 320), keep_ratio=False, interp=cv2.INTER_NEAREST),
    ),
}


def colours_of(sample: Sample, colour: Colour) -> list[tuple[int, int, int]]:
    """The painted colour of each instance that is left, told by where its shape lies."""
    return [
        max(
            (colour(index) for index in range(4)),
            key=lambda candidate: (
                (sample.image == candidate).all(axis=2) & segment.to_mask(*sample.size).astype(bool)
            ).sum(),
        )
        for segment in sample.segments
    ]


@pytest.mark.parametrize("name", GEOMETRY)
def test_boxes_and_masks_follow_the_image(synthetic: Path, instance_colour: Colour, name: str) -> None:
    dataset = CocoDataset(synthetic)
    checked = changed = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        original = dataset[trial % len(dataset)]
        sample = original
        for transform in GEOMETRY[name]:
            sample = transform(sample, rng)
        changed += sample is not original
        height, width = sample.size
        pixel = max(1.0, *sample.scale_factor)
        ring = np.ones([2 * int(np.ceil(pixel)) + 3] * 2, np.uint8)
        colours = colours_of(sample, instance_colour)
        assert len(set(colours)) == len(colours)
        for box, segment, colour in zip(sample.boxes, sample.segments, colours, strict=True):
            mask = segment.to_mask(height, width).astype(bool)
            painted = (sample.image == colour).all(axis=2)
            # A ring of original pixels may differ: outlines are snapped to pixels before or after the change.
            outer = cv2.dilate(painted.astype(np.uint8), ring).astype(bool)
            inner = cv2.erode(painted.astype(np.uint8), ring, borderType=cv2.BORDER_CONSTANT, borderValue=0).astype(
                bool
            )
            # At the border, the pixel that shows why may lie beyond a cut.
            edge = len(ring) // 2
            middle = (slice(edge, -edge), slice(edge, -edge))
            assert not (mask & ~outer)[middle].any()
            assert not (inner & ~mask).any()
            if not mask.any():
                continue
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            tight = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            # A cut through an instance may leave its box larger than what is seen of it, as in the reference.
            assert (np.abs(box - tight) <= 1.5 * pixel).all() or name in ("crop", "all")
            assert (tight[:2] >= box[:2] - 1.5 * pixel).all()
            assert (tight[2:] <= box[2:] + 1.5 * pixel).all()
            assert (box >= 0).all()
            assert (box <= [width, height, width, height]).all()
            checked += 1
    assert checked > 60
    assert changed > 40


def test_flip_twice_is_nothing(synthetic: Path) -> None:
    sample, flip, rng = CocoDataset(synthetic)[0], RandomFlip(prob=1.0), np.random.default_rng(0)
    twice = flip(flip(sample, rng), rng)
    assert np.array_equal(twice.image, sample.image)
    assert twice.boxes == pytest.approx(sample.boxes, abs=1e-4)


def test_stretch_is_what_opencv_does_and_keeps_the_factor(synthetic: Path) -> None:
    sample, rng = CocoDataset(synthetic)[0], np.random.default_rng(0)
    resized = Resize((320, 640), keep_ratio=False, interp=2)(sample, rng)
    expected = cv2.resize(sample.image, None, None, fx=3.2, fy=2.0, interpolation=cv2.INTER_CUBIC)
    assert np.array_equal(resized.image, expected)
    assert resized.scale_factor == (2.0, 3.2)
    assert resized.boxes == pytest.approx(sample.boxes * [3.2, 2.0, 3.2, 2.0], abs=1e-3)
    assert resized.original_size == (160, 200)
    fitted = Resize((100, 110), keep_ratio=True)(sample, rng)
    assert fitted.size == (88, 110)


def test_random_resize_draws_evenly_from_its_sizes(synthetic: Path) -> None:
    sample = CocoDataset(synthetic)[0]
    sizes = ((80, 200), (100, 130), (120, 200))
    fitted = {(80, 200): (80, 100), (100, 130): (100, 125), (120, 200): (120, 150)}
    transform = RandomResize(sizes, keep_ratio=True, interp=2)
    found = [transform(sample, np.random.default_rng(seed)).size for seed in range(300)]
    assert set(found) == set(fitted.values())
    for size in fitted.values():
        assert 70 <= found.count(size) <= 130
    assert transform.sizes() == sizes
    fixed = RandomResize((96, 64), keep_ratio=False, random_size=False, random_interp=True)
    drawn = {fixed.choose(np.random.default_rng(seed)) for seed in range(60)}
    assert {step.target_size for step in drawn} == {(96, 64)}
    assert {step.interp for step in drawn} == {0, 1, 2, 3, 4}


def test_random_resize_within_a_range() -> None:
    transform = RandomResize(((90, 200), (95, 300)), random_range=True)
    drawn = [transform.choose(np.random.default_rng(seed)).target_size for seed in range(200)]
    assert {short for short, _ in drawn} == {90, 91, 92, 93, 94, 95}
    assert {long for _, long in drawn} == {301}
    assert transform.sizes() == ((90, 200), (95, 300))


def test_a_batch_resize_is_drawn_apart_from_its_use(synthetic: Path) -> None:
    transform = BatchRandomResize((64, 96, (32, 128)), keep_ratio=False, random_interp=True)
    drawn = [transform.choose(np.random.default_rng(seed)) for seed in range(200)]
    assert {step.target_size for step in drawn} == {(64, 64), (96, 96), (32, 128)} == set(transform.sizes())
    assert {step.interp for step in drawn} == {0, 1, 2, 3, 4}
    assert BatchRandomResize((64, 96), keep_ratio=False).choose(np.random.default_rng(0)).interp == cv2.INTER_NEAREST


def test_expand_fills_with_the_colour_and_respects_the_limit(synthetic: Path) -> None:
    sample = CocoDataset(synthetic)[0]
    expanded = RandomExpand(prob=0.0, fill_value=(123.675, 116.28, 103.53))(sample, np.random.default_rng(1))
    assert expanded.size > sample.size
    assert expanded.image[0, 0].tolist() == [124, 116, 104] or expanded.image[-1, -1].tolist() == [
        124,
        116,
        104,
    ]
    for seed in range(20):
        small = RandomExpand(prob=0.0, maximum_pixels=40_000)(sample, np.random.default_rng(seed))
        assert small.size[0] * small.size[1] <= 40_000


def test_crop_keeps_what_the_reference_keeps(synthetic: Path) -> None:
    sample = CocoDataset(synthetic)[0]
    for seed in range(200):
        cropped = RandomCrop(allow_no_crop=False)(sample, np.random.default_rng(seed))
        assert len(cropped.boxes) >= 1
        assert 0.3 / np.sqrt(2) * 160 - 1 <= cropped.size[0] <= 160
    assert crop(sample, (90, 70, 110, 90), np.arange(4)) is None
    empty = dataclasses.replace(
        sample,
        boxes=np.zeros((0, 4), np.float32),
        class_ids=np.zeros(0, np.int64),
        segments=(),
        is_crowd=np.zeros(0, np.bool_),
    )
    assert RandomCrop()(empty, np.random.default_rng(0)) is empty


def test_chance_comes_from_the_generator_alone_and_inputs_stay(synthetic: Path) -> None:
    transforms = (RandomDistort(), *GEOMETRY["all"])
    sample = CocoDataset(synthetic)[0]
    image, boxes = sample.image.copy(), sample.boxes.copy()

    def run(seed: int) -> Sample:
        rng, result = np.random.default_rng(seed), sample
        for transform in transforms:
            result = transform(result, rng)
        return result

    first, again, other = run(5), run(5), run(6)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.boxes, again.boxes)
    assert not np.array_equal(first.image, other.image)
    assert np.array_equal(sample.image, image)
    assert np.array_equal(sample.boxes, boxes)


@pytest.mark.parametrize("factor", [0.5, 0.83, 1.0, 1.5])
def test_colours_change_as_in_pillow(factor: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    picture = Image.fromarray(image)
    for adjust, enhance, limit in (
        (adjust_brightness, ImageEnhance.Brightness, 0),
        (adjust_contrast, ImageEnhance.Contrast, 1),
        (adjust_saturation, ImageEnhance.Color, 1),
    ):
        expected = np.asarray(enhance(picture).enhance(factor)).astype(int)
        assert np.abs(adjust(image, factor).astype(int) - expected).max() <= limit


@pytest.mark.parametrize("steps", [-17.6, -3.2, 0.0, 9.9])
def test_hue_turns_as_in_pillow(steps: float) -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    hsv = np.array(Image.fromarray(image).convert("HSV"))
    hsv[..., 0] = np.trunc(hsv[..., 0] + steps).astype(int) % 256
    expected = np.asarray(Image.fromarray(hsv, mode="HSV").convert("RGB")).astype(int)
    difference = np.abs(shift_hue(image, steps).astype(int) - expected)
    # A step of 8-bit hue is 6 levels of a channel; Pillow cuts off and has 255, OpenCV rounds and has 256.
    assert difference.mean() < 2.0
    assert difference.max() <= 3 * 6


def test_distortion_acts_as_often_as_configured(synthetic: Path) -> None:
    sample = CocoDataset(synthetic)[0]
    never = (0.5, 1.5, 1.0)
    kept = [
        np.array_equal(RandomDistort()(sample, np.random.default_rng(seed)).image, sample.image) for seed in range(300)
    ]
    assert 0.02 < np.mean(kept) < 0.15
    still = RandomDistort(hue=(-18, 18, 1.0), saturation=never, contrast=never, brightness=never)
    assert np.array_equal(still(sample, np.random.default_rng(0)).image, sample.image)
    for seed in range(20):
        shuffled = RandomDistort(random_apply=False, random_channel=True)(sample, np.random.default_rng(seed))
        assert shuffled.image.shape == sample.image.shape


def test_builds_the_reference_recipe() -> None:
    transforms = build_transforms(
        [
            {"RandomDistort": {}},
            {"RandomExpand": {"fill_value": [123.675, 116.28, 103.53]}},
            {"RandomCrop": {"is_mask_crop": True}},
            {"RandomFlip": None},
            {"Resize": {"target_size": 640, "keep_ratio": False, "interp": 2}},
            {"RandomResize": {"target_size": [[640, 1333], [672, 1333]], "interp": 2}},
            {"BatchRandomResize": {"target_size": [480, 512], "keep_ratio": False}},
        ]
    )
    assert transforms == (
        RandomDistort(),
        RandomExpand(fill_value=(123.675, 116.28, 103.53)),
        RandomCrop(),
        RandomFlip(),
        Resize((640, 640), keep_ratio=False, interp=cv2.INTER_CUBIC),
        RandomResize(((640, 1333), (672, 1333)), interp=cv2.INTER_CUBIC),
        BatchRandomResize((480, 512), keep_ratio=False),
    )


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ([{"Decode": {}}], r"transforms\[0\]: unknown transform 'Decode'"),
        (
            [{"RandomFlip": {}}, {"RandomFlip": {"probability": 1}}],
            r"transforms\[1\]: RandomFlip has no parameter",
        ),
        ([{"Resize": {"target_size": [640, 640]}}], "keep_ratio"),
        ([{"Resize": {"target_size": [640], "keep_ratio": True}}], "target_size is"),
        ([{"Resize": {"target_size": 640, "keep_ratio": False, "interp": 9}}], "interp is 9"),
        ([{"RandomCrop": {"is_mask_crop": False}}], "is_mask_crop is False"),
        ([{"RandomCrop": {"scaling": [0, 2]}}], "scaling"),
        ([{"RandomCrop": {"ioumode": "giou"}}], "ioumode"),
        ([{"RandomExpand": {"ratio": 1}}], "ratio is 1"),
        ([{"RandomDistort": {"hue": [1, 2]}}], "hue is"),
        ([{"RandomFlip": {"prob": "often"}}], r"RandomFlip: prob is 'often', expected float"),
        ([{"RandomCrop": {"num_attempts": 2.5}}], r"num_attempts is 2\.5, expected int"),
        ([{"RandomCrop": {"thresholds": [0.1, True]}}], "thresholds is"),
        ([{"RandomResize": {"target_size": 640}}], "with random_size expected a list"),
        ([{"RandomResize": {"target_size": [[640]]}}], r"target_size is \(640,\)"),
        ([{"RandomResize": {"target_size": [[9, 9], [5, 9]], "random_range": True}}], "with random_range expected"),
        ([{"BatchRandomResize": {"target_size": [640, -1], "keep_ratio": False}}], "target_size is -1"),
        ([{"BatchRandomResize": {"target_size": [640]}}], "keep_ratio"),
        ([{"RandomFlip": {}, "Resize": {}}], "expected one name"),
        (["RandomFlip"], "expected one name"),
    ],
)
def test_wrong_configs_are_named(config: list[Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        build_transforms(config)
