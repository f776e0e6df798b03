"""From a model's `InputSpec` and a recipe to what the training and the evaluation feed it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ..data import Step, build_transforms
from ..data.resize import BatchRandomResize, RandomResize, Resize
from ..errors import ConfigError
from ..input_spec import InputSpec

_STRETCH_STRIDE = 32
"""Every model that stretches its images needs sides that are multiples of this."""

_OPENCV_NUMBERS = {"linear": 1, "cubic": 2}


def sized_input(spec: InputSpec, image_size: Sequence[int] | None) -> InputSpec:
    """The model's input, at the recipe's size where that gives one."""
    if image_size is None:
        return spec
    if len(image_size) != 2 or any(side <= 0 for side in image_size):
        raise ConfigError(f"Recipe.image_size: expected [height, width], found {list(image_size)}")
    if spec.resize == "stretch" and any(side % _STRETCH_STRIDE for side in image_size):
        raise ConfigError(
            f"Recipe.image_size: expected [height, width], each a multiple of {_STRETCH_STRIDE}, "
            f"found {list(image_size)}"
        )
    return dataclasses.replace(spec, height=image_size[0], width=image_size[1])


def training_steps(augmentation: Sequence[Mapping[str, Mapping[str, Any] | None]], spec: InputSpec) -> tuple[Step, ...]:
    """The recipe's transforms; where none of them is a resize, one to the network input follows.

    They work on bytes and normalisation comes last, as in the reference's training, also for a model that is evaluated
    with normalisation first (SOLOv2).
    """
    steps = build_transforms(augmentation)
    resizes = [step for step in steps if isinstance(step, Resize | RandomResize | BatchRandomResize)]
    if not resizes:
        resize = Resize(
            (spec.height, spec.width),
            keep_ratio=spec.resize == "keep_ratio",
            interp=_OPENCV_NUMBERS[spec.interpolation],
        )
        return (*steps, resize)
    if spec.resize == "stretch":
        last = resizes[-1]
        wrong = [size for size in last.sizes() if any(side % _STRETCH_STRIDE for side in size)]
        if last.keep_ratio or wrong:
            raise ConfigError(
                f"Recipe.augmentation: {type(last).__name__}: this model needs keep_ratio false and sizes that are "
                f"multiples of {_STRETCH_STRIDE}, found {wrong[0] if wrong else 'keep_ratio true'}"
            )
    return steps


def misses_evaluation_size(steps: Sequence[Step], spec: InputSpec) -> bool:
    """Whether the transforms resize, but never to the size that the evaluation uses: mostly an oversight."""
    sizes = [
        size for step in steps if isinstance(step, Resize | RandomResize | BatchRandomResize) for size in step.sizes()
    ]
    return (spec.height, spec.width) not in sizes


def pad_stride(spec: InputSpec) -> int | None:
    """To a multiple of what batches are padded; None where all images of a batch have one size."""
    return spec.pad_stride if spec.resize == "keep_ratio" else None
