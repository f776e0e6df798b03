"""One step of the optimizer: forward and backward passes over a batch, in one or several parts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import paddle

from ..data import Batch
from ..errors import CheckpointError
from ..models.base import InstanceSegmentationModel
from ..targets import Targets
from .distributed import World
from .precision import Precision


def parts_of(batch: Batch, count: int) -> Iterator[Batch]:
    """`count` batches of the same number of images, padded as the whole is."""
    if count == 1:
        yield batch
        return
    size = len(batch) // count
    for start in range(0, len(batch), size):
        rows = slice(start, start + size)
        fields: dict[str, Any] = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
        yield dataclasses.replace(batch, **{name: value[rows] for name, value in fields.items() if value is not None})


def to_targets(batch: Batch) -> Targets:
    return Targets(
        paddle.to_tensor(batch.boxes),
        paddle.to_tensor(batch.class_ids),
        paddle.to_tensor(batch.masks),
        paddle.to_tensor(batch.pad_mask),
        image_sizes=paddle.to_tensor(batch.image_sizes),
        segments=batch.segments,
    )


class TrainingStep:
    """accumulate: parts of a batch, whose gradients are averaged: the memory of one part, the step of the whole, where
    the loss is a mean over images and no layer takes statistics of the batch.
    """

    def __init__(
        self,
        model: InstanceSegmentationModel,
        optimizer: paddle.optimizer.Optimizer,
        world: World,
        precision: Precision,
        *,
        accumulate: int,
        seed: int,
    ) -> None:
        self._model, self._optimizer, self._world, self._precision = model, optimizer, world, precision
        self._accumulate, self._seed = accumulate, seed

    def __call__(self, batch: Batch, iteration: int, learning_rate: float) -> dict[str, float]:
        """The losses: `loss` is the mean over all parts and processes, the others over this process's parts.

        Raises `CheckpointError` for a loss that is not finite, in all processes.
        """
        self._optimizer.set_lr(learning_rate)
        # Some losses draw samples or noise: every iteration has its own chance, the same after a resumption.
        chance = np.random.SeedSequence(self._seed, spawn_key=(iteration, self._world.rank))
        paddle.seed(int(chance.generate_state(1)[0]))
        values: dict[str, float] = {}
        for part in parts_of(batch, self._accumulate):
            with self._precision.forward():
                losses = self._model.loss(paddle.to_tensor(part.images), to_targets(part))
            for name, value in losses.items():
                values[name] = values.get(name, 0.0) + float(value) / self._accumulate
            loss = losses["loss"] if self._accumulate == 1 else losses["loss"] / self._accumulate
            self._precision.backward(loss)
        values["loss"] = self._world.mean(values["loss"])
        if not math.isfinite(values["loss"]):
            raise CheckpointError(
                f"iteration {iteration}: the loss is {values['loss']}: lower Train.learning_rate "
                f"(now {learning_rate:g}) or set Recipe.optimizer.gradient_clip, then resume"
            )
        self._world.average_gradients(self._optimizer._parameter_list)
        self._precision.step(self._optimizer)
        # Gradients go, rather than stay as zeros: a part that a batch does not reach stands still, resumed or not.
        self._optimizer.clear_grad(set_to_zero=False)
        return values
