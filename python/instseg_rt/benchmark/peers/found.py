"""What a peer found in an image, and whether it is what the bundle finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from instseg_rt.benchmark.clock import Clock
from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.subjects import Call
from instseg_rt.result import Result

# What a peer may differ by: it adds in another order, and OpenCV resizes otherwise on some processors.
_MAX_BOX_DIFFERENCE = 0.5  # pixels
_MAX_SCORE_DIFFERENCE = 1e-3
_MIN_MASK_IOU = 0.99
_MIN_SHARE = 0.98  # of the instances that must be found with such a mask


@dataclass(frozen=True)
class Found:
    """N instances. class_ids: (N,) int64; scores: (N,) float32; boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the
    image, None where the program gives none; masks: N times (H, W) bool. cropped: whether boxes are clipped to the
    image and masks cut to their boxes, rounded to whole pixels.
    """

    class_ids: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray | None
    masks: list[np.ndarray]
    cropped: bool = False


class Peer(Protocol):
    """A subject that can also show what it finds.

    must_agree: whether that must be what the bundle finds in float32.
    """

    must_agree: bool

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """Of the library that runs the network."""

    @property
    def process_id(self) -> int | None:
        """Of the process that it runs in, where that is not this one."""

    def __call__(self, images: Sequence[Path]) -> Call: ...

    def find(self, image: Path) -> Found:
        """What it finds in an image; not measured."""

    def close(self) -> None: ...


def check_agreement(name: str, image: Path, ours: Result, theirs: Found) -> None:
    """Raises `BenchmarkError` unless both found the same instances.

    Each of ours is matched with one of its class, score, box and mask; equal scores may come in another order.
    """
    agreed, free = 0, set(range(len(theirs.scores)))
    for index, mask in enumerate(ours.masks):
        for other in sorted(free, key=lambda i: abs(float(theirs.scores[i] - ours.scores[index]))):
            if (
                theirs.class_ids[other] == ours.class_ids[index]
                and abs(theirs.scores[other] - ours.scores[index]) <= _MAX_SCORE_DIFFERENCE
                and _same_box(ours, index, theirs, other)
                and _iou(_as_theirs(mask, theirs, other), theirs.masks[other]) >= _MIN_MASK_IOU
            ):
                agreed += 1
                free.discard(other)
                break
    total = max(len(ours), len(theirs.scores))
    if agreed < _MIN_SHARE * total:
        raise BenchmarkError(
            f"{image}: {name} finds {len(theirs.scores)} instances and the bundle {len(ours)}; {agreed} agree, "
            "expected the same, so that both do the same work"
        )


def make_call(milliseconds: dict[str, float], start: float, clock: Clock) -> Call:
    """A call on one image that began at `start`, with its stages."""
    return Call(1, {**milliseconds, "total": (clock.now() - start) * 1e3})


def _same_box(ours: Result, index: int, theirs: Found, other: int) -> bool:
    if theirs.boxes is None:
        return True
    box = ours.boxes[index]
    if theirs.cropped:
        height, width = ours.orig_shape
        box = np.clip(box, 0, [width, height, width, height])
    return bool(np.abs(theirs.boxes[other] - box).max() <= _MAX_BOX_DIFFERENCE)


def _as_theirs(mask: np.ndarray, theirs: Found, other: int) -> np.ndarray:
    if theirs.boxes is None or not theirs.cropped:
        return mask
    left, top, right, bottom = (round(float(value)) for value in theirs.boxes[other])
    cut = np.zeros_like(mask)
    cut[top:bottom, left:right] = mask[top:bottom, left:right]
    return cut


def _iou(mask: np.ndarray, other: np.ndarray) -> float:
    union = np.count_nonzero(mask | other)
    return np.count_nonzero(mask & other) / union if union else 1.0
