"""The largest values that a float32 graph's tensors take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from .graph_types import FLOAT, element_types

_PREFIX = "range of "


class ActivationRanges:
    """Runs a stage, and notes the largest |value| of every computed float32 tensor over all runs."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.largest: dict[str, float] = {}
        self._session = onnxruntime.InferenceSession(
            _with_range_outputs(model).SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
        )
        self._names = [node.name for node in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """The stage's outputs."""
        outputs = dict(zip(self._names, self._session.run(self._names, dict(inputs)), strict=True))
        for name in self._names:
            if name.startswith(_PREFIX):
                tensor, value = name.removeprefix(_PREFIX), float(outputs.pop(name))
                self.largest[tensor] = max(self.largest.get(tensor, 0.0), value)
        return outputs


def session_options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options


def _with_range_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with the largest |value| of each computed tensor as a further output."""
    types = element_types(model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    names = [name for node in result.graph.node for name in node.output if name and types[name] == FLOAT]
    for name in names:
        result.graph.node.extend(_range_nodes(name))
        result.graph.output.append(helper.make_tensor_value_info(_PREFIX + name, TensorProto.FLOAT, []))
    return result


def _range_nodes(name: str) -> Iterable[onnx.NodeProto]:
    yield helper.make_node("Abs", [name], [f"{_PREFIX}{name} abs"])
    yield helper.make_node("ReduceMax", [f"{_PREFIX}{name} abs"], [_PREFIX + name], keepdims=0)
