"""Batches of a data set, epoch by epoch, prepared by worker processes ahead of their use."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType

import numpy as np

from instseg_trainer.data.coco import CocoDataset
from instseg_trainer.data.collate import BatchLayout, BatchTask, Normalization, prepare_batch
from instseg_trainer.data.errors import DataError
from instseg_trainer.data.sample import Batch
from instseg_trainer.data.transforms import Step
from instseg_trainer.data.worker import Worker


class DataLoader:
    """Gives the batches of an epoch. The same seed, epoch and iteration give the same batch, bit for bit, for
    any number of workers and wherever the epoch was entered, so a resumed training sees what it would have
    seen.

    `num_workers` 0 prepares batches in the calling thread. Workers start with the first epoch and live until
    `close()` (or the `with` block's end); an epoch left early ends them too, the next one starts new ones.
    With several training processes each has a loader with its own `rank` of `ranks` and gets its part of every
    global batch of `batch_size * ranks` images.

    `mask_stride`, `pad_stride` and `keep_segments` are those of `BatchLayout`.
    `prefetch_batches` finished batches wait beside those that the workers hold. Not thread-safe; one epoch at
    a time.
    """

    def __init__(
        self,
        dataset: CocoDataset,
        transforms: Sequence[Step],
        *,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        num_workers: int = 0,
        prefetch_batches: int = 2,
        mask_stride: int = 4,
        pad_stride: int | None = None,
        keep_segments: bool = False,
        normalization: Normalization | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        for name, value, lowest in (
            ("batch_size", batch_size, 1),
            ("prefetch_batches", prefetch_batches, 1),
            ("mask_stride", mask_stride, 1),
            ("pad_stride", 1 if pad_stride is None else pad_stride, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
        ):
            if value < lowest:
                raise DataError(f"DataLoader: {name} is {value}, expected at least {lowest}")
        if not 0 <= rank < ranks or (ranks > 1 and not drop_last):
            raise DataError(
                f"DataLoader: rank {rank} of {ranks} with drop_last {drop_last}: expected rank < ranks, "
                "and drop_last with several ranks"
            )
        if drop_last and len(dataset) < batch_size * ranks:
            raise DataError(
                f"{dataset.annotation_file}: {len(dataset)} images are less than one batch of {batch_size * ranks}: "
                "use a smaller batch"
            )
        self._dataset = dataset
        self._transforms = tuple(transforms)
        self._batch_size = batch_size
        self._rank, self._ranks = rank, ranks
        self._seed = seed
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._num_workers = num_workers
        self._prefetch_batches = prefetch_batches
        self._layout = BatchLayout(mask_stride, pad_stride, keep_segments)
        self._normalization = normalization or Normalization()
        self._workers: list[Worker] = []
        self._is_iterating = False

    def __len__(self) -> int:
        """Batches per epoch."""
        full, rest = divmod(len(self._dataset), self._batch_size * self._ranks)
        return full if self._drop_last or not rest else full + 1

    def __enter__(self) -> DataLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; the loader can be used again."""
        for worker in self._workers:
            worker.close()
        self._workers = []

    def epoch(self, epoch: int, start_iteration: int = 0) -> Iterator[Batch]:
        """The batches of epoch `epoch` (from 0) from iteration `start_iteration` on.

        Raises DataError for a file that cannot be used, RuntimeError when a worker fails.
        """
        if epoch < 0 or not 0 <= start_iteration <= len(self):
            raise DataError(f"no iteration {start_iteration} of epoch {epoch}: an epoch has {len(self)} iterations")
        tasks = self._tasks(epoch, start_iteration)
        if not self._num_workers:
            return (prepare_batch(task).finish(self._normalization) for task in tasks)
        return self._from_workers(tasks)

    def _tasks(self, epoch: int, start_iteration: int) -> Iterator[BatchTask]:
        order = np.arange(len(self._dataset))
        if self._shuffle:
            order = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(epoch,))).permutation(order)
        for iteration in range(start_iteration, len(self)):
            first = (iteration * self._ranks + self._rank) * self._batch_size
            indices = order[first : first + self._batch_size].tolist()
            yield BatchTask(
                records=tuple(self._dataset.records[index] for index in indices),
                indices=tuple(indices),
                seed=self._seed,
                epoch=epoch,
                iteration=iteration,
                transforms=self._transforms,
                layout=self._layout,
            )

    def _from_workers(self, tasks: Iterator[BatchTask]) -> Iterator[Batch]:
        if self._is_iterating:
            raise RuntimeError("an epoch of this DataLoader is still under way: finish or close it first")
        self._is_iterating = True
        if not self._workers:
            self._workers = [Worker() for _ in range(self._num_workers)]
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(self._prefetch_batches)
        stopping = threading.Event()
        collector = threading.Thread(
            target=_collect, args=(self._workers, tasks, self._normalization, ready, stopping), daemon=True
        )
        collector.start()
        finished = False
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
            finished = True
        finally:
            self._is_iterating = False
            stopping.set()
            if not finished:
                # Their answers to this epoch's tasks must not be taken for the next one's.
                for worker in self._workers:
                    worker.stop()
            collector.join()
            if not finished:
                self.close()


def _collect(
    workers: Sequence[Worker],
    tasks: Iterator[BatchTask],
    normalization: Normalization,
    ready: queue.Queue[Batch | BaseException | None],
    stopping: threading.Event,
) -> None:
    """Thread: deal tasks to the workers in turn and collect their batches in order; None ends the queue.

    A worker gets its next task only after its batch was received, so neither side ever waits for the other to
    read.
    """

    def put(item: Batch | BaseException | None) -> None:
        while not stopping.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    try:
        busy: list[Worker] = []
        for worker, task in zip(workers, tasks):
            worker.send(task)
            busy.append(worker)
        while busy and not stopping.is_set():
            worker = busy.pop(0)
            prepared = worker.receive()
            task_or_none = next(tasks, None)
            if task_or_none is not None:
                worker.send(task_or_none)
                busy.append(worker)
            put(prepared.finish(normalization))
        put(None)
    except Exception as error:
        put(error)
