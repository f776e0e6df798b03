"""Data-parallel training: one process per device, started by `python -m paddle.distributed.launch`, gradients
averaged after each backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import paddle

from ..runtime import launched_processes


@dataclass(frozen=True)
class World:
    """This process's place among `size` processes; `rank` 0 evaluates, logs and writes files."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def average_gradients(self, parameters: Sequence[paddle.Tensor]) -> None:
        """Replaces each gradient by its mean over all processes, in one exchange.

        A part of the model that one process's images did not reach (a mask head without an object) counts as zeros
        there, so that all processes exchange the same tensors.
        """
        if self.size == 1:
            return
        gradients = [paddle.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = paddle.concat([g.flatten() for g in gradients])
        paddle.distributed.all_reduce(flat)
        parts = paddle.split(flat / self.size, [g.size for g in gradients])
        for parameter, part in zip(parameters, parts, strict=True):
            mean = part.reshape(parameter.shape)
            if parameter.grad is None:
                parameter.grad = mean
            else:
                parameter.grad.set_value(mean)

    def mean(self, value: float) -> float:
        """The mean of all processes' values."""
        if self.size == 1:
            return value
        total = paddle.to_tensor([value], dtype="float64")
        paddle.distributed.all_reduce(total)
        return float(total.numpy().item()) / self.size

    def agree(self, answer: bool) -> bool:
        """Rank 0's answer."""
        if self.size == 1:
            return answer
        given = paddle.to_tensor([int(answer)], dtype="int32")
        paddle.distributed.broadcast(given, src=0)
        return bool(given.numpy().item())

    def broadcast_weights(self, tensors: Sequence[paddle.Tensor]) -> None:
        """Gives every process the tensors of rank 0."""
        if self.size > 1:
            for tensor in tensors:
                paddle.distributed.broadcast(tensor, src=0)


def join_world() -> World:
    """The world that the launcher made, or a world of this process alone."""
    if launched_processes() < 2:
        return World()
    paddle.distributed.init_parallel_env()
    return World(paddle.distributed.get_rank(), paddle.distributed.get_world_size())
