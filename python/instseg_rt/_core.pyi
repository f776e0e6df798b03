"""The C++ runtime of instseg_rt. Boxes are half-open x1, y1, x2, y2 in pixels of the original image."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

class Error(RuntimeError):
    """Any error of instseg_rt: what was wrong and where, expected against found, what to do."""

    code: str | None

class InvalidArgumentError(Error): ...
class IoError(Error): ...
class BadBundleError(Error): ...
class IncompatibleEngineError(Error): ...
class UnsupportedError(Error): ...
class OutOfMemoryError(Error): ...
class BackendError(Error): ...
class InternalError(Error): ...

class TensorSpec:
    def __init__(self, name: str, dtype: str, shape: Sequence[int | str]) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int | str, ...]:
        """Sizes, and names of axes whose size is known at run time ("batch")."""

class EngineSpec:
    """An engine that the manifest lists; its file may be missing."""

    @property
    def file(self) -> Path: ...
    @property
    def size(self) -> int: ...
    @property
    def backend(self) -> str: ...
    @property
    def backend_version(self) -> str: ...
    @property
    def sm(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def onnx_sha256(self) -> str: ...

class TypedStage:
    """A stage in lower precision; its file may be missing. weights_file: of an OpenVINO IR."""

    @property
    def precision(self) -> str: ...
    @property
    def file(self) -> Path: ...
    @property
    def sha256(self) -> str: ...
    @property
    def source_sha256(self) -> str: ...
    @property
    def weights_file(self) -> Path | None: ...

class StageSpec:
    def __init__(
        self,
        name: str,
        file: str | bytes | os.PathLike[str],
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def file(self) -> Path: ...
    @property
    def sha256(self) -> str: ...
    @property
    def inputs(self) -> list[TensorSpec]: ...
    @property
    def outputs(self) -> list[TensorSpec]: ...
    @property
    def engines(self) -> list[EngineSpec]: ...
    @property
    def typed(self) -> list[TypedStage]: ...

class InputSpec:
    """How an image becomes the network input. None: what this kind of resize does not have."""

    @property
    def resize(self) -> Literal["stretch", "keep_ratio"]: ...
    @property
    def height(self) -> int | None: ...
    @property
    def width(self) -> int | None: ...
    @property
    def short_side(self) -> int | None: ...
    @property
    def long_side(self) -> int | None: ...
    @property
    def pad_stride(self) -> int: ...
    @property
    def color(self) -> Literal["rgb", "bgr"]: ...
    @property
    def interpolation(self) -> Literal["linear", "cubic"]: ...
    @property
    def normalize_first(self) -> bool: ...
    @property
    def scale(self) -> float: ...
    @property
    def mean(self) -> tuple[float, float, float]: ...
    @property
    def std(self) -> tuple[float, float, float]: ...

class BatchSpec:
    @property
    def min(self) -> int: ...
    @property
    def opt(self) -> int: ...
    @property
    def max(self) -> int: ...

class BundleInfo:
    @property
    def path(self) -> Path: ...
    @property
    def model(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def category_ids(self) -> list[int]: ...
    @property
    def input(self) -> InputSpec: ...
    @property
    def batch(self) -> BatchSpec: ...
    @property
    def stages(self) -> list[StageSpec]: ...
    @property
    def decode(self) -> dict[str, bool | int | float | str | list[float]]: ...
    @property
    def threshold(self) -> float: ...
    @property
    def default_precision(self) -> str: ...
    @property
    def provenance(self) -> str:
        """YAML text; empty where the manifest has none."""
    @property
    def verification(self) -> str:
        """YAML text; empty where the manifest has none."""

class Engine(TypedDict):
    """The header of an engine file."""

    backend: str
    backend_version: str
    sm: int
    precision: str
    stage: str
    onnx_sha256: str
    source_sha256: str
    profiles: list[dict[str, dict[str, list[int]]]]
    builder_options: dict[str, str]
    plan_bytes: int
    plan_sha256: str

def read_engine(path: str | bytes | os.PathLike[str], verify: bool = False) -> Engine:
    """Reads an engine file's header; verify: and compares the plan with its sha256. Raises IoError, BadBundleError."""

def load_bundle(path: str | bytes | os.PathLike[str]) -> BundleInfo:
    """Reads and checks a bundle, without a session. Raises IoError, BadBundleError, UnsupportedError."""

class PackedMask:
    """A bit-packed crop of the original image."""

    @property
    def x(self) -> int: ...
    @property
    def y(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def words(self) -> NDArray[np.uint32]:
        """A copy, (height, words per row); bit x & 31 of word x >> 5 is pixel x of the crop."""
    @property
    def area(self) -> int: ...
    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Tight box of the set pixels; zeros when empty."""
    def crop(self) -> NDArray[np.bool_]:
        """(height, width) of the crop."""
    def dense(self, height: int, width: int) -> NDArray[np.bool_]:
        """(height, width) of the image."""
    def rle(self, height: int, width: int) -> bytes:
        """COCO's compressed counts of the whole image."""
    def polygons(self) -> list[tuple[NDArray[np.float32], bool]]:
        """Outlines along pixel corners: (K, 2) points x, y, and whether the ring is a hole."""
    @staticmethod
    def from_dense(mask: NDArray[np.bool_]) -> PackedMask: ...
    @staticmethod
    def from_rle(counts: bytes, height: int, width: int) -> PackedMask: ...

class Timings(TypedDict):
    """Milliseconds of the network call that the image was in; it carried `batch` images."""

    preprocess_ms: float
    inference_ms: float
    postprocess_ms: float
    total_ms: float
    batch: int

class Result:
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def timings(self) -> Timings: ...
    @property
    def boxes(self) -> NDArray[np.float32]:
        """(N, 4), not clipped to the image."""
    @property
    def scores(self) -> NDArray[np.float32]:
        """(N,)"""
    @property
    def class_ids(self) -> NDArray[np.int32]:
        """(N,)"""
    @property
    def masks(self) -> list[PackedMask]: ...
    def dense_masks(self) -> NDArray[np.bool_]:
        """(N, height, width)"""
    def __len__(self) -> int: ...
    def to_json(
        self,
        input_path: str | None,
        page_index: int | None,
        labels: Sequence[str],
        mask_format: Literal["crop", "rle"] = "crop",
        indent: int | None = None,
    ) -> str:
        """PaddleX's JSON, laid out as json.dumps(indent=…, ensure_ascii=False) does."""

class GpuMasks:
    """uint8 on a GPU, which it keeps alive; contiguous."""

    @property
    def address(self) -> int:
        """0 where there is no mask."""
    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def device(self) -> int:
        """Number of the GPU."""
    def to_dlpack(self, versioned: bool) -> object:
        """A capsule that keeps the memory alive, "dltensor" or "dltensor_versioned"."""

class GpuResult:
    """Masks are on the GPU, all else is on the host."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def device(self) -> int:
        """Number of the GPU."""
    @property
    def timings(self) -> Timings: ...
    @property
    def boxes(self) -> NDArray[np.float32]:
        """(N, 4), not clipped to the image."""
    @property
    def scores(self) -> NDArray[np.float32]:
        """(N,)"""
    @property
    def class_ids(self) -> NDArray[np.int32]:
        """(N,)"""
    def masks(self) -> GpuMasks:
        """In new memory."""
    def to_host(self) -> Result: ...

class DlpackTensor:
    """A tensor taken out of a DLPack capsule; it goes back to its owner with `release()`, or with this object.
    Raises InvalidArgumentError for what is no such capsule, and for members that are read after `release()`.
    """

    def __init__(self, capsule: object) -> None: ...
    def release(self) -> None: ...
    @property
    def address(self) -> int:
        """Of the first element; 0 where there is none."""
    @property
    def shape(self) -> list[int]: ...
    @property
    def strides(self) -> list[int] | None:
        """In elements; None: row by row."""
    @property
    def dtype(self) -> str:
        """Such as "uint8"; with lanes "uint8x4"."""
    @property
    def device(self) -> tuple[int, int]:
        """DLDeviceType and number."""

class GpuImage:
    """uint8 pixels on a GPU, which stay alive elsewhere. stream: a cudaStream_t, 0: nothing to wait for."""

    def __init__(self, address: int, height: int, width: int, channels: int, stride: int, stream: int) -> None: ...
    @property
    def address(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def stride(self) -> int:
        """Bytes per row."""
    @property
    def stream(self) -> int: ...

class Predictor:
    """Safe to call from many threads; releases the GIL."""

    def __init__(
        self,
        bundle: str | bytes | os.PathLike[str],
        device: str = "cpu",
        backend: str = "",
        precision: str = "auto",
        threshold: float | None = None,
        threads: int = 0,
        contexts: int = 1,
    ) -> None: ...
    def predict(
        self,
        images: Sequence[NDArray[np.uint8] | GpuImage],
        format: Literal["bgr", "rgb"],
        threshold: float | None = None,
    ) -> list[Result]:
        """One result per uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or image of the predictor's GPU."""
    def predict_on_gpu(
        self,
        images: Sequence[NDArray[np.uint8] | GpuImage],
        format: Literal["bgr", "rgb"],
        threshold: float | None = None,
    ) -> list[GpuResult]:
        """As predict. Raises UnsupportedError where ops_device is "cpu"; without images too."""
    def statistics(self) -> list[StageStatistics]: ...
    def warm_up(self, batch: int = 1) -> None: ...
    @property
    def bundle(self) -> BundleInfo: ...
    @property
    def device(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def backend_version(self) -> str: ...
    @property
    def ops_device(self) -> str: ...
    @property
    def ops_reason(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def threshold(self) -> float: ...

class StageSession:
    """A stage, run by a backend: for tests, and for a look at what a network gives. Safe to call from many threads,
    which take turns.
    """

    def __init__(
        self,
        stage: StageSpec,
        device: str = "cpu",
        backend: str = "",
        precision: str = "fp32",
        threads: int = 0,
    ) -> None: ...
    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs, by name, for the inputs, by name."""

class StageStatistics(TypedDict):
    """What a stage has done and holds, on a backend that counts it."""

    stage: str
    runs: int
    graph_captures: int
    graph_replays: int
    graph_refusals: int
    device_bytes: int
    pinned_bytes: int

class Device(TypedDict):
    """sm: 75 for compute capability 7.5. driver, runtime: versions of CUDA.

    Of a CPU there is only its name, and as runtime the instruction sets of the backend's own kernels ("avx512 amx",
    "avx2"), empty where none can be used.
    """

    name: str
    sm: int
    memory_bytes: int
    driver: str
    runtime: str

def describe_device(backend: str, device: str) -> Device:
    """What a backend says about a device ("cpu" of openvino); UnsupportedError says why it cannot be used."""

class CudaOps(TypedDict):
    """path: None where there is no library, or it cannot be loaded. available: and it finds a GPU."""

    path: str | None
    available: bool
    error: str | None

def cuda_ops() -> CudaOps:
    """The library of CUDA ops, or why it cannot be used."""

class Backend(TypedDict):
    """path: of the plug-in; None for a backend in Python."""

    name: str
    path: str | None
    available: bool
    version: str | None
    error: str | None

def backends() -> list[Backend]:
    """The plug-ins found, and why one cannot be used; then the registered backends."""

def register_backend(name: str, factory: Callable[[str, str, str, int, int, bool], object], version: str) -> None:
    """factory: path, device, precision, threads (0: all cores), contexts, leading_batch -> a session (see
    `instseg_rt.backend`). Both stay until the end of the process.
    """

def set_library_hint(backend: str, folder: str | bytes | os.PathLike[str]) -> None:
    """Tells where a backend's own libraries lie."""

def version() -> str: ...
