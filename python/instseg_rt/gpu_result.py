"""Results whose masks stay on the GPU, and masks there as other libraries take them: the CUDA Array Interface (version
3) and DLPack.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from instseg_rt import _core
from instseg_rt.core_results import ModelFacts, make_result, make_timings
from instseg_rt.detections import Detections
from instseg_rt.gpu_image import DLPACK_CUDA
from instseg_rt.result import Result
from instseg_rt.sources import SourceImage


class GpuMasks:
    """(N, H, W) uint8 of 0 and 1, contiguous, on a GPU: `torch.from_dlpack(masks)`, `cupy.asarray(masks)`.

    The masks are complete: no stream has to be waited for. Their memory lives as long as this object and every array
    that was made of it; all of them show the same memory.
    """

    def __init__(self, core: _core.GpuMasks) -> None:
        self._core = core

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W)"""
        return self._core.shape

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """uint8"""
        return np.dtype(np.uint8)

    @property
    def device(self) -> str:
        """Such as "gpu:0"."""
        return f"gpu:{self._core.device}"

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"GpuMasks({'x'.join(map(str, self.shape))} uint8; {self.device})"

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self._core.address, False),  # 0 where there is no mask
            "strides": None,
            "stream": None,
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return (DLPACK_CUDA, self._core.device)

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule; versioned where `max_version` is (1, 0) or later. `stream` has nothing to wait for.

        Raises `BufferError` for a copy and for another device, as the protocol asks for.
        """
        if copy:
            raise BufferError("GpuMasks: a copy is left to the library that takes the masks")
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError(f"GpuMasks: the masks are on {self.device}, found dl_device={dl_device!r}")
        return self._core.to_dlpack(versioned=max_version is not None and max_version[0] >= 1)


class GpuResult(Detections):
    """N instances of one image, by the order of `Result`; their masks are on the GPU.

    boxes, scores, class_ids, labels, names, orig_shape, input_path, page_index, timings: as in `Result`, on the host.
    masks: `GpuMasks`, made on the first access; before that the result holds packed crops, in far less memory.

    May be used from many threads, and after its `Predictor` was closed. Where masks need more memory than the GPU has,
    it raises `OutOfMemoryError`.
    """

    def __init__(self, core: _core.GpuResult, source: SourceImage, model: ModelFacts) -> None:
        self._core = core
        self._model = model
        self.boxes = core.boxes
        self.scores = core.scores
        self.class_ids = core.class_ids
        self.names = model.names
        self.orig_shape = (core.height, core.width)
        self.source = self._source = source
        self.timings = make_timings(core.timings, source)

    @cached_property
    def masks(self) -> GpuMasks:
        """(N, H, W) uint8 of 0 and 1, on the GPU: N times the image in bytes."""
        return GpuMasks(self._core.masks())

    @property
    def device(self) -> str:
        """Such as "gpu:0"."""
        return f"gpu:{self._core.device}"

    def to_host(self) -> Result:
        """What `Predictor.predict` would have given. Copies the packed masks."""
        return make_result(self._core.to_host(), self._source, self._model)
