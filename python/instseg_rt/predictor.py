"""`Predictor`: a bundle, ready to run on any input."""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

from instseg_rt import _core
from instseg_rt.backend import explain_missing, prepare_backend
from instseg_rt.closing import Closing
from instseg_rt.core_results import ModelFacts, make_result
from instseg_rt.devices import parse_device
from instseg_rt.embedded import resolve_bundle
from instseg_rt.errors import Error, InvalidArgumentError, UnsupportedError
from instseg_rt.gpu_image import take_image
from instseg_rt.gpu_result import GpuResult
from instseg_rt.result import Result
from instseg_rt.sources import Color, SourceImage, read_sources

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np


_STOP_SECONDS = 1.0
_WAIT_SECONDS = 0.5  # for an image, before signals are looked at

_Found = TypeVar("_Found")


class Predictor(Closing):
    """Runs a bundle: `Predictor("model.bundle")("photo.jpg")` gives a `Result`.

    bundle: path of a bundle directory, or the name of one that is embedded in the package.
    device: "cpu", "gpu:0". backend: name of the backend that runs the stages (see
    `instseg_rt.backends`); None takes the plug-in that fits the device.
    precision: "auto" takes the bundle's `default_precision` where the processor is faster in it, else "fp32"; on a GPU
        that of the bundle's engines, "fp32" where it has both. "fp32", or a lower one that the backend can compute
        in ("bf16", "fp16"); "int8": the bundle's INT8 stages (`instseg-export BUNDLE --precision int8`).
    threshold: instances with score > threshold are kept; None takes the bundle's.
    threads: CPU threads of one inference; None takes all cores. contexts: inferences that can run at the same
    time.

    Safe to call from many threads: calls beyond `contexts` wait for their turn. Raises `IoError` and
    `BadBundleError` for what is wrong with the bundle, `UnsupportedError` for a device, backend or precision
    that this installation does not have, `IncompatibleEngineError` where a GPU's backend finds no engine in the
    bundle that fits, with the command that builds it, and `InvalidArgumentError` for arguments out of range.
    """

    def __init__(
        self,
        bundle: str | PathLike[str],
        *,
        device: str = "cpu",
        backend: str | None = None,
        precision: str = "auto",
        threshold: float | None = None,
        threads: int | None = None,
        contexts: int = 1,
    ) -> None:
        check_threshold(threshold)
        parsed_device = parse_device(device)
        folder = resolve_bundle(bundle)
        if backend is not None:
            prepare_backend(backend)
        try:
            self._predictor: _core.Predictor | None = _core.Predictor(
                folder,
                device=parsed_device,
                backend=backend or "",
                precision=precision,
                threshold=threshold,
                threads=threads or 0,
                contexts=contexts,
            )
        except UnsupportedError as error:
            if (explained := explain_missing(backend, error)) is error:
                raise
            raise explained from error
        # Copied once: the core makes new lists on each access.
        info = self._predictor.bundle
        self._model = ModelFacts(tuple(info.labels), tuple(info.category_ids), info.family)

    def __call__(self, image: Any, threshold: float | None = None, *, color: Color = "bgr") -> Result:
        """Predict on one image: any input of `instseg_rt.sources` that gives exactly one.

        threshold: as in the constructor, for this call. color: channel order of a numpy array.
        Raises `IoError` or `InvalidArgumentError`, naming the input, for what is not one readable image.
        """
        check_threshold(threshold)
        images = read_sources(image, color)
        source = next(images, None)
        if source is None or next(images, None) is not None:
            count = "no image" if source is None else "more than one image"
            raise InvalidArgumentError(f"expected exactly one image, the input gives {count}: use predict(inputs)")
        return self._run([_taken(source)], threshold)[0]

    def predict(
        self, inputs: Any, batch_size: int = 1, threshold: float | None = None, *, color: Color = "bgr"
    ) -> Iterator[Result]:
        """Predict on a stream of images (see `instseg_rt.sources`), yielding one Result per image, in order.

        Images are read and decoded by a thread in the background while the ones before them are computed, at
        most two batches ahead; an iterator given as input is drawn from that thread. An input that cannot be
        read raises its error after the results of all images before it. Closing the generator stops the
        reading.

        batch_size: images per inference. threshold, color: as in `__call__`.
        """
        check_threshold(threshold)
        check_batch_size(batch_size)
        return self._stream(inputs, batch_size, color, lambda batch: self._run(batch, threshold))

    def predict_on_gpu(
        self, inputs: Any, batch_size: int = 1, threshold: float | None = None, *, color: Color = "bgr"
    ) -> Iterator[GpuResult]:
        """As `predict`: the same instances, with masks that stay on the GPU (see `GpuResult`).

        Raises `UnsupportedError`, with the reason, where `ops` does not name a GPU.
        """
        check_threshold(threshold)
        check_batch_size(batch_size)
        self._core.predict_on_gpu([], color, threshold=threshold)  # says at once what cannot be
        return self._stream(inputs, batch_size, color, lambda batch: self._run_on_gpu(batch, threshold))

    def warm_up(self, batch_size: int = 1) -> None:
        """Run every context once at this batch size, so that later calls allocate and compile nothing."""
        self._core.warm_up(batch_size)

    @property
    def labels(self) -> list[str]:
        """Class names, by class id."""
        return list(self._model.names)

    @property
    def info(self) -> _core.BundleInfo:
        """What the bundle's manifest says."""
        return self._core.bundle

    @property
    def device(self) -> str:
        """The device that it runs on."""
        return self._core.device

    @property
    def backend(self) -> str:
        """Name and version of the backend, such as "openvino 2026.4.1"."""
        return f"{self._core.backend} {self._core.backend_version}".rstrip()

    @property
    def ops(self) -> str:
        """Where the work around the network is done: "cpu", or the device; with the reason where it is the CPU while
        the network is on a GPU.
        """
        reason = self._core.ops_reason
        return f"{self._core.ops_device}: {reason}" if reason else self._core.ops_device

    @property
    def precision(self) -> str:
        """The precision that the stages are computed in."""
        return self._core.precision

    @property
    def threshold(self) -> float:
        """The threshold of calls that give none."""
        return self._core.threshold

    def close(self) -> None:
        """Free the model and its buffers; later calls raise `InvalidArgumentError`."""
        self._predictor = None

    @property
    def _core(self) -> _core.Predictor:
        if self._predictor is None:
            raise InvalidArgumentError("this Predictor is closed: make a new one")
        return self._predictor

    def _stream(
        self,
        inputs: Any,
        batch_size: int,
        color: Color,
        run: Callable[[list[SourceImage]], list[_Found]],
    ) -> Iterator[_Found]:
        batch: list[SourceImage] = []
        images = _ReadAhead(read_sources(inputs, color), limit=2 * batch_size)
        try:
            for found in images:
                item = _taken_or_error(found)
                # One core call takes one channel order.
                if batch and (
                    isinstance(item, BaseException) or len(batch) == batch_size or item.color != batch[0].color
                ):
                    yield from run(batch)
                    batch = []
                if isinstance(item, BaseException):
                    raise item
                batch.append(item)
                if len(batch) == batch_size:
                    yield from run(batch)
                    batch = []
            if batch:
                yield from run(batch)
        finally:
            images.stop()

    def _run(self, batch: list[SourceImage], threshold: float | None) -> list[Result]:
        with _pixels(batch) as pixels:
            found = self._core.predict(pixels, batch[0].color, threshold=threshold)
        return [make_result(core, _without_gpu(source), self._model) for core, source in zip(found, batch, strict=True)]

    def _run_on_gpu(self, batch: list[SourceImage], threshold: float | None) -> list[GpuResult]:
        with _pixels(batch) as pixels:
            found = self._core.predict_on_gpu(pixels, batch[0].color, threshold=threshold)
        return [GpuResult(core, _without_gpu(source), self._model) for core, source in zip(found, batch, strict=True)]


class _ReadAhead:
    """Iterates over images that a daemon thread reads ahead; an exception of theirs is the last item."""

    def __init__(self, images: Iterator[SourceImage], limit: int) -> None:
        self._items: queue.SimpleQueue[SourceImage | BaseException | None] = queue.SimpleQueue()
        self._free = threading.Semaphore(limit)
        self._stopped = False
        # Daemon: an input that blocks for ever (a camera, an iterator) must not keep the process alive.
        self._thread = threading.Thread(target=self._read, args=(images,), name="instseg-read-ahead", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def __iter__(self) -> Iterator[SourceImage | BaseException]:
        while (item := self._next()) is not None:
            self._free.release()
            yield item

    def _next(self) -> SourceImage | BaseException | None:
        # Ctrl-C that arrives just before the wait, or in another thread, does not end it: Python sees it between waits.
        while True:
            with contextlib.suppress(queue.Empty):
                return self._items.get(timeout=_WAIT_SECONDS)

    def stop(self) -> None:
        """Make the thread end at its next image, and wait for that as long as decoding an image may take.

        A daemon thread that is inside OpenCV when the interpreter exits would abort the process.
        """
        atexit.unregister(self.stop)
        self._stopped = True
        self._free.release()
        if self._thread is not threading.current_thread():
            self._thread.join(_STOP_SECONDS)

    def _read(self, images: Iterator[SourceImage]) -> None:
        try:
            while True:
                self._free.acquire()
                if self._stopped or (image := next(images, None)) is None:
                    break
                self._items.put(image)
        except BaseException as error:  # handed to the thread that iterates
            self._items.put(error)
        finally:
            self._items.put(None)


@contextmanager
def _pixels(batch: list[SourceImage]) -> Iterator[list[np.ndarray | _core.GpuImage]]:
    """The pixels for the core; those on a GPU go back to their owners afterwards."""
    try:
        yield [source.gpu.image if source.image is None else source.image for source in batch]
    finally:
        for source in batch:
            if source.gpu is not None:
                source.gpu.release()


def _without_gpu(source: SourceImage) -> SourceImage:
    return source if source.gpu is None else replace(source, gpu=None)


def _taken(source: SourceImage) -> SourceImage:
    return source if source.gpu is None else replace(source, gpu=take_image(source.gpu))


def _taken_or_error(item: SourceImage | BaseException) -> SourceImage | BaseException:
    """Pixels on a GPU are taken over in the thread that iterates: its CUDA stream is the one to wait for."""
    try:
        return item if isinstance(item, BaseException) else _taken(item)
    except Error as error:
        return error


def check_threshold(threshold: float | None) -> None:
    """Raises `InvalidArgumentError` for what is no threshold; None, for the default, is one."""
    if threshold is not None and not (isinstance(threshold, Real) and 0 <= threshold <= 1):
        raise InvalidArgumentError(f"threshold: expected a number from 0 to 1, found {threshold!r}")


def check_batch_size(batch_size: int) -> None:
    """Raises `InvalidArgumentError` for what is no number of images."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InvalidArgumentError(f"batch_size: expected a whole number of at least 1, found {batch_size!r}")
