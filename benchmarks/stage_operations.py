"""How many floating-point operations the networks of a bundle do for an image, and how many this machine can do."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instseg_rt import Predictor, register_backend
from instseg_rt.backend import SessionOptions, TensorInfo
from instseg_rt.backend.onnxruntime import OnnxRuntimeSession

_BACKEND = "recorded"
_PRODUCT_SIZE = 3072  # of the matrices, each 38 MB: larger than caches
_PRODUCT_REPEATS = 7

# OpenVINO's names; BackpropData is the transposed one.
_CONVOLUTIONS = frozenset(
    prefix + suffix for prefix in ("Convolution", "GroupConvolution") for suffix in ("", "BackpropData")
)

Shapes = dict[str, tuple[int, ...]]


class OperationCounter:
    """Counts for any number of bundles. One in a process: it registers a backend."""

    def __init__(self) -> None:
        self._runs: list[tuple[Path, Shapes]] = []
        register_backend(_BACKEND, self._create_session)

    def operations(self, bundle: Path, image: Path, threshold: float) -> float:
        """Multiplications and additions of all stages for `image`, in convolutions and matrix products.

        Counted on the shapes that the stages really get: those of the R-CNN heads depend on what is found.
        """
        return sum(graph_operations(file, shapes) for file, shapes in self.runs(bundle, image, threshold))

    def runs(self, bundle: Path, image: Path, threshold: float) -> list[tuple[Path, Shapes]]:
        """The ONNX files that are run for `image`, one after the other, with the shapes of their inputs."""
        self._runs.clear()
        with Predictor(bundle, backend=_BACKEND, threshold=threshold) as predictor:
            predictor(image)
        return list(self._runs)

    def _create_session(self, file: Path, options: SessionOptions) -> _RecordedSession:
        return _RecordedSession(file, options, self._runs)


class _RecordedSession:
    """Runs the stage, and notes the shapes of its inputs."""

    def __init__(self, file: Path, options: SessionOptions, runs: list[tuple[Path, Shapes]]) -> None:
        self._session = OnnxRuntimeSession(file, options)
        self._file = file
        self._runs = runs

    def inputs(self) -> Sequence[TensorInfo]:
        return self._session.inputs()

    def outputs(self) -> Sequence[TensorInfo]:
        return self._session.outputs()

    def run(self, inputs: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        self._runs.append((self._file, {name: array.shape for name, array in inputs.items()}))
        return self._session.run(inputs)


def graph_operations(file: Path, shapes: Shapes) -> float:
    """Of one run of an ONNX graph with inputs of these shapes. A multiplication with its addition counts as two."""
    return float(sum(operations_by_kind(read_graph(file, shapes)).values()))


def read_graph(file: Path, shapes: Shapes) -> Any:
    """An openvino.Model for inputs of these shapes."""
    import openvino

    model = openvino.Core().read_model(file)
    model.reshape({name: list(shape) for name, shape in shapes.items()})
    return model


def operations_by_kind(model: Any) -> dict[str, int]:
    """Of "convolutions" and "matrix products" in an openvino.Model."""
    found = {"convolutions": 0, "matrix products": 0}
    for node in model.get_ops():
        found["matrix products" if node.get_type_name() == "MatMul" else "convolutions"] += _node_operations(node)
    return found


def _node_operations(node: Any) -> int:
    """0 for what is neither a convolution nor a matrix product."""
    kind = node.get_type_name()
    if kind == "MatMul":
        left = tuple(node.input_value(0).shape)
        inner = left[-2] if node.get_attributes()["transpose_a"] else left[-1]
        return int(2 * math.prod(node.output(0).shape) * inner)
    if kind not in _CONVOLUTIONS:
        return 0
    weights = tuple(node.input_value(1).shape)[1 if kind.startswith("Group") else 0 :]
    per_place = math.prod(weights[1:])
    # A transposed one spreads each input value, the others gather each output value.
    places = node.input_value(0).shape if kind.endswith("BackpropData") else node.output(0).shape
    return int(2 * math.prod(places) * per_place)


def operations_per_second() -> float:
    """The most that this machine does, with all its cores: in NumPy's product of two large float32 matrices."""
    generator = np.random.default_rng(0)
    left, right = (generator.standard_normal((_PRODUCT_SIZE, _PRODUCT_SIZE), np.float32) for _ in range(2))
    best = math.inf
    for _ in range(_PRODUCT_REPEATS):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2.0 * _PRODUCT_SIZE**3 / best
