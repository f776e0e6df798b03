"""One ONNX file -> one plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ExportError
from .profiles import Shapes
from .progress import BuildProgress, monitor, run_stoppable
from .tensorrt_module import BuilderOptions, TensorRT

_PRODUCT_LAYERS = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY")
_MOST_SAID = 3


@dataclass(frozen=True)
class BuiltPlan:
    """products: how many convolutions and matrix products the network has, by the type of their results (`HALF`,
    `FLOAT`). timing_cache: what was measured, where it was.
    """

    plan: memoryview
    products: dict[str, int]
    timing_cache: bytes | None


def build_plan(
    tensorrt: TensorRT,
    onnx_file: Path,
    sm: int,
    precision: str,
    profile: Mapping[str, Shapes],
    options: BuilderOptions,
    progress: BuildProgress,
) -> BuiltPlan:
    """Raises `ExportError`, with TensorRT's own words, where the graph cannot be read or built, and where the network
    is not of the precision that was asked for. Raises KeyboardInterrupt after Ctrl-C.
    """
    module = tensorrt.module
    logger = _logger(module)
    builder = module.Builder(logger)
    network = tensorrt.create_network(builder)
    parser = module.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx_file)):
        said = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
        raise ExportError(f"{onnx_file}: {_said(said or logger.messages, 'the parser gave no reason')}")
    products = network_products(module, network)
    check_precision(products, precision, str(onnx_file))
    config = builder.create_builder_config()
    tensorrt.configure(config, sm, options)
    config.add_optimization_profile(_profile(builder, network, profile))
    watcher = monitor(module, progress)
    config.progress_monitor = watcher
    plan = run_stoppable(lambda: builder.build_serialized_network(network, config), progress)
    if plan is None:
        raise ExportError(f"{onnx_file.name}, sm_{sm}: {_said(logger.messages, 'the build gave no reason')}")
    return BuiltPlan(memoryview(plan), products, tensorrt.timing_cache(config))


def network_products(module: ModuleType, network: Any) -> dict[str, int]:
    """Types of the results of the network's convolutions and matrix products.

    They are those of the engine: a strongly typed network is built as it is typed. An engine cannot be asked itself
    on a machine without its GPU.
    """
    kinds = {getattr(module.LayerType, name) for name in _PRODUCT_LAYERS}
    layers = (network.get_layer(index) for index in range(network.num_layers))
    return dict(Counter(layer.get_output(0).dtype.name for layer in layers if layer.type in kinds))


def check_precision(products: Mapping[str, int], precision: str, where: str) -> None:
    """Raises `ExportError` where the products are not of the precision that was asked for."""
    halves, total = products.get("HALF", 0), sum(products.values())
    if precision == "fp16" and total and 2 * halves < total:
        raise ExportError(f"{where}: FP16 was asked for, but {total - halves} of {total} products are not in FP16")
    if precision == "fp32" and halves:
        raise ExportError(f"{where}: FP32 was asked for, but {halves} of {total} products are in FP16")


def _profile(builder: Any, network: Any, shapes: Mapping[str, Shapes]) -> Any:
    profile = builder.create_optimization_profile()
    names = {network.get_input(index).name for index in range(network.num_inputs)}
    if names != set(shapes):
        raise ExportError(f"the graph's inputs are {sorted(names)}, the manifest's {sorted(shapes)}")
    for name, (smallest, usual, largest) in shapes.items():
        profile.set_shape(name, smallest, usual, largest)
    return profile


def _logger(module: ModuleType) -> Any:
    """Keeps what TensorRT calls errors, and prints nothing."""

    class Messages(module.ILogger):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.messages: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= module.ILogger.ERROR:
                self.messages.append(message)

    return Messages()


def _parser_error(error: Any) -> str:
    return f"{error.node_operator()} {error.node_name()}: {error.desc()}"


def _said(messages: list[str], otherwise: str) -> str:
    return "; ".join(" ".join(message.split()) for message in messages[-_MOST_SAID:]) or otherwise
