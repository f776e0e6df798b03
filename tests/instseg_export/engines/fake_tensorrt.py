"""A stand-in for the Python module `tensorrt`, which needs a GPU: the classes and signatures that the export uses, as
the bindings of TensorRT 10.13 and 11 declare them. It records what it is told, and reads the graph with onnx.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnx
from onnx import TensorProto

_LAYER = {"Conv": "CONVOLUTION", "ConvTranspose": "DECONVOLUTION", "MatMul": "MATRIX_MULTIPLY"}


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self) -> None:
        pass

    def log(self, severity: int, message: str) -> None:
        raise RuntimeError('Tried to call pure virtual function "ILogger::log"')  # as the bindings do


class IProgressMonitor:
    def __init__(self) -> None:
        pass


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT64 = 2
    BOOL = 3


_DATA_TYPE = {
    TensorProto.FLOAT: DataType.FLOAT,
    TensorProto.FLOAT16: DataType.HALF,
    TensorProto.INT64: DataType.INT64,
    TensorProto.BOOL: DataType.BOOL,
}


class LayerType(enum.Enum):
    CONVOLUTION = 0
    DECONVOLUTION = 1
    MATRIX_MULTIPLY = 2
    SHUFFLE = 3


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class BuilderFlag(enum.IntEnum):
    TF32 = 7


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class ITimingCache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data + b"+measured"


class IBuilderConfig:
    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}
        self.pool_limits: dict[MemoryPoolType, int] = {}
        self.profiles: list[IOptimizationProfile] = []
        self.progress_monitor: Any = None
        self.cache: ITimingCache | None = None

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.pool_limits[pool] = pool_size

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache.data.startswith(b"other GPU") and not ignore_mismatch:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self.cache


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Sequence[int], ...]] = {}

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        self.shapes[input] = (min, opt, max)


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.inputs: list[str] = []
        self.layers: list[Any] = []

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_input(self, index: int) -> Any:
        return SimpleNamespace(name=self.inputs[index])

    def get_layer(self, index: int) -> Any:
        return self.layers[index]


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self.network = network
        self.errors: list[str] = []

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(
            desc=lambda: self.errors[index], node_name=lambda: "sampling", node_operator=lambda: "GridSample"
        )

    def parse_from_file(self, model: str) -> bool:
        graph = onnx.shape_inference.infer_shapes(onnx.load(Path(model))).graph
        if any(node.op_type == "GridSample" for node in graph.node):
            self.errors.append("UNSUPPORTED_NODE")
            return False
        types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
        self.network.inputs = [value.name for value in graph.input]
        for node in graph.node:
            kind = LayerType[_LAYER.get(node.op_type, "SHUFFLE")]
            output = SimpleNamespace(dtype=_DATA_TYPE[types[node.output[0]]])
            self.network.layers.append(SimpleNamespace(type=kind, get_output=lambda _index, output=output: output))
        return True


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self.logger = logger
        BUILDERS.append(self)
        self.config: IBuilderConfig | None = None
        self.network: INetworkDefinition | None = None

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        self.network = INetworkDefinition(flags)
        return self.network

    def create_builder_config(self) -> IBuilderConfig:
        self.config = IBuilderConfig()
        return self.config

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start("Building engine", None, 2)
        monitor.phase_start("Timing tactics", "Building engine", 3)
        for step in range(3):
            if not monitor.step_complete("Timing tactics", step):
                self.logger.log(ILogger.ERROR, "Error Code 7: BuildCanceled")
                return None
        monitor.phase_finish("Timing tactics")
        monitor.phase_finish("Building engine")
        if config.pool_limits.get(MemoryPoolType.WORKSPACE, 1 << 40) < 1 << 20:
            self.logger.log(ILogger.WARNING, "not a reason")
            self.logger.log(ILogger.ERROR, "Error Code 10: Could not find any implementation for node {conv}")
            return None
        return b"plan of the fake"


BUILDERS: list[Builder] = []
"""All that were made, the last one last."""


def fake_module(version: str) -> ModuleType:
    """`tensorrt` of this version; TensorRT 11 may be without the flag for strongly typed networks."""
    module = ModuleType("tensorrt")
    names = (
        "ILogger IProgressMonitor DataType LayerType BuilderFlag MemoryPoolType Builder OnnxParser "
        "NetworkDefinitionCreationFlag"
    )
    for name in names.split():
        setattr(module, name, globals()[name])
    module.__version__ = version  # type: ignore[attr-defined]
    if version.startswith("11"):
        module.NetworkDefinitionCreationFlag = enum.IntEnum(  # type: ignore[attr-defined]
            "NetworkDefinitionCreationFlag", {"EXPLICIT_BATCH": 0}
        )
    return module
