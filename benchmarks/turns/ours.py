"""This project's training, iteration by iteration; `python -m turns.ours TASK` takes turns with another one.

TASK is JSON: `config`, a configuration's name or file, and `overrides`, a list of KEY=VALUE.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from turns.protocol import Iteration, Stopwatch, Turns, task_of_this_process

if TYPE_CHECKING:
    from instseg_trainer.config import Config


class OwnTraining:
    """The loader, the step and the averaged weights of `instseg train`; nothing is evaluated or kept.

    Call `instseg_trainer.runtime.prepare_cpu` before. Close it when done.
    """

    def __init__(self, config: Config) -> None:
        from instseg_trainer.runtime import set_device

        set_device(config.Global.device)
        from instseg_trainer.engine.ema import ModelEMA
        from instseg_trainer.engine.trainer import Trainer

        self._trainer = Trainer(config)
        self._load_weights(config)
        recipe = config.Recipe
        self._ema = ModelEMA(self._trainer.model, recipe.ema_decay, recipe.ema_decay_type) if recipe.use_ema else None
        self._trainer.model.train()
        self._batches = self._epochs()
        self._stopwatch = Stopwatch()

    def _load_weights(self, config: Config) -> None:
        from instseg_rt.official_weights import find_weights
        from instseg_trainer.weights import load_weights, read_pdparams

        path = config.Train.pretrain_weight_path
        if path:
            arrays = read_pdparams(find_weights(path, config.Global.model, print))
            load_weights(self._trainer.model, arrays, source=path, strict=False, any_classes=True)

    @property
    def images_per_iteration(self) -> int:
        train, recipe = self._trainer.config.Train, self._trainer.config.Recipe
        return train.batch_size * recipe.accumulate

    def start(self) -> None:
        """The next iteration's time begins now."""
        self._stopwatch.start()

    def next_iteration(self) -> Iteration:
        batch = next(self._batches)
        self._stopwatch.batch_is_there()
        loss = self._trainer.step(batch)["loss"]
        if self._ema is not None:
            self._ema.update()
        self._trainer.state.iteration += 1
        return self._stopwatch.done(loss)

    def close(self) -> None:
        self._batches.close()  # type: ignore[attr-defined]
        self._trainer.loader.close()

    def _epochs(self) -> Iterator[Any]:
        for epoch in itertools.count():
            yield from self._trainer.loader.epoch(epoch)


def main() -> None:
    turns = Turns()
    from instseg_trainer.config import load_config

    task = task_of_this_process()
    training = OwnTraining(load_config(task["config"], task["overrides"]))
    turns.serve(training.next_iteration, training.start)
    training.close()


if __name__ == "__main__":
    main()
