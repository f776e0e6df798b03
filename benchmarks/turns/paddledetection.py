"""PaddleDetection's own training loop, iteration by iteration: `python -m turns.paddledetection TASK` takes turns.

Runs with a Python that has what PaddleDetection needs, and nothing of this project beside `turns.protocol`. TASK is
JSON with the fields of `Task`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

from turns.protocol import Iteration, Stopwatch, Turns, task_of_this_process

_RESIZES = ("Resize", "RandomResize", "BatchRandomResize")


@dataclass(frozen=True)
class Task:
    """folder: the checkout; config: the file, absolute. dataset: in COCO's format, of more images than are trained.

    Images are resized to `image_size` always, height and width or, where the ratio is kept, short and long side, with
    OpenCV's `interpolation`. weights: `.pdparams` to start from.
    """

    folder: str
    config: str
    dataset: str
    num_classes: int
    batch_size: int
    workers: int
    image_size: list[int]
    keep_ratio: bool
    interpolation: int
    use_gpu: bool
    weights: str | None


def load_task(task: Task) -> Any:
    """PaddleDetection's configuration with the data set, sizes and counts of the task."""
    from ppdet.core.workspace import load_config, merge_config

    config = load_config(task.config)
    merge_config(
        {
            "num_classes": task.num_classes,
            "worker_num": task.workers,
            "use_gpu": task.use_gpu,
            "epoch": 1,
            "save_dir": tempfile.gettempdir(),
            "TrainDataset": {
                "name": "COCODataSet",
                "image_dir": "images",
                "anno_path": "annotations/instance_train.json",
                "dataset_dir": task.dataset,
            },
        }
    )
    reader = config["TrainReader"]
    reader["batch_size"] = task.batch_size
    steps = [*reader["sample_transforms"], *reader["batch_transforms"]]
    resizes = [(step, name) for step in steps for name in step if name in _RESIZES]
    if len(resizes) != 1:
        raise SystemExit(f"{task.config}: TrainReader: expected one resize, found {len(resizes)}")
    ((step, name),) = resizes
    fixed: dict[str, Any] = {
        "target_size": task.image_size,
        "keep_ratio": task.keep_ratio,
        "interp": task.interpolation,
    }
    step[name] = fixed if name == "Resize" else fixed | {"random_size": False, "random_interp": False}
    return config


class _Clock:
    """Gives the times of the loop's iterations, and holds the loop between two turns."""

    def __init__(self, turns: Turns, use_gpu: bool) -> None:
        self._turns = turns
        self._use_gpu = use_gpu
        self._stopwatch = Stopwatch()
        self._taken: list[Iteration] = []
        self._wanted = 0

    def wait(self) -> None:
        self._wanted = self._turns.wait()
        if not self._wanted:
            # The data workers are daemons of this process: they end with it.
            os._exit(0)
        self._stopwatch.start()

    def batch_is_there(self) -> None:
        self._stopwatch.batch_is_there()

    def end(self, loss: float) -> None:
        if self._use_gpu:
            import paddle

            paddle.device.synchronize()
        self._taken.append(self._stopwatch.done(loss))
        if len(self._taken) == self._wanted:
            self._turns.answer(self._taken)
            self._taken = []
            self.wait()


def run(task: Task, turns: Turns) -> None:
    import cv2
    import paddle

    # As in its program train.py: data workers run in parallel, not the calls in each.
    cv2.setNumThreads(0)
    paddle.set_device("gpu" if task.use_gpu else "cpu")
    from ppdet.engine import Trainer
    from ppdet.engine.callbacks import Callback

    clock = _Clock(turns, task.use_gpu)

    class TurnCallback(Callback):  # type: ignore[misc]
        def on_epoch_begin(self, status: dict[str, Any]) -> None:
            clock.wait()

        def on_step_begin(self, status: dict[str, Any]) -> None:
            clock.batch_is_there()

        def on_step_end(self, status: dict[str, Any]) -> None:
            self.loss = status["training_staus"].meters["loss"].value
            # Averaged weights are updated after this call: that ends the iteration then.
            if not self.model.use_ema:
                clock.end(self.loss)

        def on_epoch_end(self, status: dict[str, Any]) -> None:
            raise SystemExit("the data set has fewer images than are trained")

    trainer = Trainer(load_task(task), mode="train")
    if task.weights:
        trainer.load_weights(task.weights)
    callback = TurnCallback(trainer)
    # In place of those that print and write files.
    trainer._callbacks = []
    trainer.register_callbacks([callback])
    if trainer.use_ema:
        update = trainer.ema.update

        def update_and_end(*arguments: Any) -> None:
            update(*arguments)
            clock.end(callback.loss)

        trainer.ema.update = update_and_end
    trainer.train()


def main() -> None:
    turns = Turns()
    task = Task(**task_of_this_process())
    sys.path.insert(0, task.folder)
    run(task, turns)


if __name__ == "__main__":
    main()
