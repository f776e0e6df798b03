"""A bundle's float32 stages beside their rounded FP16 forms, in the runtime's own pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

import instseg_rt
from instseg_rt.backend import SessionOptions, TensorInfo, register_backend
from instseg_rt.backend.onnxruntime import OnnxRuntimeSession

from ..errors import ExportError
from ..output_errors import QUERY_OUTPUTS, SUPPRESSED_OUTPUT, flipped_values, largest_errors, matched_rows
from .activation_ranges import ActivationRanges, session_options
from .rounded import rounded_graph

Arrays = Mapping[str, NDArray[np.float32]]
RunStage = Callable[[Arrays], Arrays]
_BACKEND = "instseg_export-stages"
_opening = threading.Lock()
_opened: dict[str, RunStage] = {}


class _StageSession:
    """What computes a stage is what `_opened` has for it when the session is made."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        plain = OnnxRuntimeSession(path, options)
        self._inputs, self._outputs = list(plain.inputs()), list(plain.outputs())
        self._run = _opened[path.stem]

    def inputs(self) -> list[TensorInfo]:
        return self._inputs

    def outputs(self) -> list[TensorInfo]:
        return self._outputs

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(self._run(inputs))


@cache
def _register() -> None:
    """A registered backend stays until the end of the process: there is one for all comparisons."""
    register_backend(_BACKEND, _StageSession)


def stage_predictor(bundle: Path, stages: Mapping[str, RunStage]) -> instseg_rt.Predictor:
    """Gives every detection of an image, where `stages` compute the stages, by name, from their inputs."""
    with _opening:
        _register()
        _opened.update(stages)
        try:
            return instseg_rt.Predictor(bundle, backend=_BACKEND, threshold=0.0)
        finally:
            _opened.clear()


class GraphStage:
    """Runs a stage's graph as it is."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._names = [value.name for value in model.graph.output]
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
        )

    def __call__(self, inputs: Arrays) -> Arrays:
        return dict(zip(self._names, self._session.run(self._names, dict(inputs)), strict=True))


class RoundedStage(GraphStage):
    """Runs a typed FP16 graph as `rounded_graph` describes."""

    def __init__(self, typed: onnx.ModelProto) -> None:
        super().__init__(rounded_graph(typed))


class RangeStage:
    """Runs a stage in float32 and notes how large the values become."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.ranges = ActivationRanges(model)

    def __call__(self, inputs: Arrays) -> Arrays:
        return self.ranges.run(inputs)


class ComparedStage:
    """Runs a stage both ways on the same inputs, and goes on with what FP16 gives.

    `errors`: per output the largest difference over the largest value of a run, the worst of all runs. `swapped`: of
    outputs that are a choice, the shares of rows without a counterpart, or of values that are 0 on one side only; see
    `output_errors`.
    """

    def __init__(self, family: str, source: onnx.ModelProto, typed: onnx.ModelProto) -> None:
        self.errors: dict[str, float] = {}
        self._family = family
        self._float, self._half = GraphStage(source), RoundedStage(typed)
        self._swapped = self._rows = 0

    @property
    def swapped(self) -> float:
        return self._swapped / max(self._rows, 1)

    def __call__(self, inputs: Arrays) -> Arrays:
        expected, found = self._float(inputs), self._half(inputs)
        broken = [name for name, value in found.items() if not np.isfinite(value).all()]
        if broken:
            raise ExportError(f"{broken[0]}: not finite in float16: values beyond 65504 inside the network")
        for name, error in self._compare(found, expected).items():
            self.errors[name] = max(self.errors.get(name, 0.0), error)
        return found

    def _compare(self, found: Arrays, expected: Arrays) -> dict[str, float]:
        if self._family == "mask_rtdetr":
            errors, matched, total = matched_rows(found, expected, QUERY_OUTPUTS)
            self._swapped, self._rows = self._swapped + total - matched, self._rows + total
            return errors
        if self._family == "solov2":
            errors, flipped, total = flipped_values(found, expected, SUPPRESSED_OUTPUT)
            self._swapped, self._rows = self._swapped + flipped, self._rows + total
            return errors
        return largest_errors(found, expected)
