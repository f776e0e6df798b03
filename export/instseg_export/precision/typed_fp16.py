"""A float32 stage -> the same stage in float16 with islands of float32, every type written into the graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..errors import ExportError
from .float_nodes import LARGEST_HALF, FloatNodes
from .graph_types import FLOAT, HALF, half_inputs, opset_of, with_plain_constants
from .islands import Island

RANGE_LIMIT = LARGEST_HALF / 2
"""A tensor whose values were seen beyond this stays float32: other images may go further than those of the export."""


@dataclass(frozen=True)
class TypedGraph:
    """half_nodes: nodes computed in float16. float_nodes: in float32, by reason."""

    model: onnx.ModelProto
    half_nodes: int
    float_nodes: dict[str, int]


def to_typed_fp16(
    model: onnx.ModelProto, islands: Sequence[Island], largest: Mapping[str, float] | None = None
) -> TypedGraph:
    """The graph in float16; its inputs and outputs stay float32, and are cast inside.

    largest: largest |value| seen per tensor of `model` (see `activation_ranges`). Raises `ExportError` for a graph
    that is no plain float32 graph.
    """
    plain = with_plain_constants(model)
    found = FloatNodes(plain)
    strange = {name for name, kind in found.types.items() if kind in (HALF, onnx.TensorProto.DOUBLE)}
    if strange:
        raise ExportError(f"expected a float32 graph, but {min(strange)} is float16 or float64")
    found.add_islands(islands)
    found.add_constants()
    found.add_ranges(largest or {}, RANGE_LIMIT)
    typed = _Writer(plain, found).written()
    onnx.checker.check_model(typed, full_check=True)
    computed = [index for index, node in enumerate(plain.graph.node) if found.has_floats(node)]
    floats = Counter(found.reasons[index] for index in computed if index in found.reasons)
    return TypedGraph(typed, len(computed) - floats.total(), dict(floats.most_common()))


class _Writer:
    """Writes the nodes anew, with a cast in front of each that needs its input in the other type."""

    def __init__(self, model: onnx.ModelProto, found: FloatNodes) -> None:
        self._model = model
        self._found = found
        self._opset = opset_of(model)
        self._nodes: list[onnx.NodeProto] = []
        self._constants = {name: tensor for name, tensor in found.constants.items() if tensor.data_type != FLOAT}
        # Tensors that are float16 in the new graph, and casts that are there already: (tensor, type) -> name.
        self._half: set[str] = set()
        self._casts: dict[tuple[str, int], str] = {}
        self._outputs = {value.name for value in model.graph.output}
        self._renamed: dict[str, str] = {}

    def written(self) -> onnx.ModelProto:
        for index, node in enumerate(self._model.graph.node):
            self._write(node, half=index not in self._found.reasons)
        result = onnx.ModelProto()
        result.CopyFrom(self._model)
        del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
        result.graph.node.extend(self._nodes)
        result.graph.initializer.extend(self._constants.values())
        return result

    def _write(self, node: onnx.NodeProto, half: bool) -> None:
        new = onnx.NodeProto()
        new.CopyFrom(node)
        wanted = self._input_type(node, half)
        for slot, (name, may_be_half) in enumerate(zip(node.input, half_inputs(node, self._opset))):
            if self._found.types.get(name) == FLOAT:
                new.input[slot] = self._as(name, wanted if may_be_half else FLOAT)
        if half:
            self._retype_attributes(new)
        self._nodes.append(new)
        for slot, name in enumerate(node.output):
            if half and self._found.types.get(name) == FLOAT:
                self._add_half_result(new, slot, name)

    def _input_type(self, node: onnx.NodeProto, half: bool) -> int:
        """What gives no floats (a comparison, a cast to integers) takes float16 where all that it reads is float16."""
        if self._found.has_floats(node):
            return HALF if half else FLOAT
        computed = [
            name for name in node.input if self._found.types.get(name) == FLOAT and name not in self._found.constants
        ]
        return HALF if half and computed and all(name in self._half for name in computed) else FLOAT

    def _own_type(self, name: str) -> int:
        return HALF if name in self._half else FLOAT

    @staticmethod
    def _retype_attributes(node: onnx.NodeProto) -> None:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
                attribute.i = HALF
            elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == FLOAT:
                attribute.t.CopyFrom(numpy_helper.from_array(_halved(numpy_helper.to_array(attribute.t))))

    def _add_half_result(self, node: onnx.NodeProto, slot: int, name: str) -> None:
        if name not in self._outputs:
            self._half.add(name)
            return
        # The stage's output is a cast of it. What reads it inside the stage reads the float16 tensor.
        inner = f"{name}_fp16"
        node.output[slot] = inner
        self._renamed[name] = inner
        self._half.add(name)
        self._casts[name, FLOAT] = name
        self._nodes.append(helper.make_node("Cast", [inner], [name], name=f"{name}_to_float", to=FLOAT))

    def _as(self, name: str, kind: int) -> str:
        """The name under which the tensor can be read in this type."""
        if name in self._found.constants:
            return self._constant(name, kind)
        if self._own_type(name) == kind:
            return self._renamed.get(name, name)
        key = (name, kind)
        if key not in self._casts:
            cast = f"{name}_as_{'fp16' if kind == HALF else 'fp32'}"
            source = self._renamed.get(name, name)
            self._nodes.append(helper.make_node("Cast", [source], [cast], name=cast, to=kind))
            self._casts[key] = cast
        return self._casts[key]

    def _constant(self, name: str, kind: int) -> str:
        tensor = self._found.constants[name]
        if kind == FLOAT:
            self._constants[name] = tensor
            return name
        halved = f"{name}_fp16"
        if halved not in self._constants:
            self._constants[halved] = numpy_helper.from_array(_halved(numpy_helper.to_array(tensor)), halved)
        return halved


def _halved(values: np.ndarray) -> np.ndarray:
    if values.size and not np.abs(values).max() <= LARGEST_HALF:
        raise ExportError(f"a constant reaches {np.abs(values).max():.3g}, beyond float16's {LARGEST_HALF:g}")
    return values.astype(np.float16)
