"""Element types of a graph's tensors, and which operators can take float16."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from ..errors import ExportError

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16

PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
"""Operators that sum products of activations: most of the time of a network, and where float16 pays."""
NORMALISATIONS = frozenset({"LayerNormalization", "InstanceNormalization", "BatchNormalization"})
_ARRANGING = {"Concat", "Expand", "Flatten", "Reshape", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
_PICKING = {"Gather", "GatherElements", "GatherND", "Identity", "Slice"}
MOVEMENTS = frozenset(_ARRANGING | _PICKING)
"""Operators that give values as they are, in other places."""
EXACT = MOVEMENTS | {"Abs", "Max", "MaxPool", "Min", "Neg", "ReduceMax", "ReduceMin", "Relu", "TopK"}
"""Operators whose results are float16 values when their inputs are: nothing is rounded."""

# Of these the parsers want the sizes and scales as float32, whatever the data's type is.
_FLOAT_INPUTS = {"Resize": frozenset({1, 2})}


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor; raises `ExportError` where it cannot be inferred."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*inferred.input, *inferred.output, *inferred.value_info)
    types = {value.name: int(value.type.tensor_type.elem_type) for value in values}
    types |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    for node in inferred.node:
        for name in node.output:
            if name and not types.get(name):
                raise ExportError(f"{node.op_type} {node.name}: the type of its output {name} cannot be inferred")
    return types


def opset_of(model: onnx.ModelProto) -> int:
    return next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def half_inputs(node: onnx.NodeProto, opset: int) -> Iterator[bool]:
    """For each input of the node: whether it may be float16."""
    allowed, _ = _half_slots(node.op_type, opset)
    fixed = _FLOAT_INPUTS.get(node.op_type, frozenset())
    for index in range(len(node.input)):
        yield allowed[min(index, len(allowed) - 1)] and index not in fixed


def may_be_half(node: onnx.NodeProto, opset: int) -> bool:
    """Whether the node's results may be float16."""
    allowed = _half_slots(node.op_type, opset)[1]
    return all(allowed[min(slot, len(allowed) - 1)] for slot, name in enumerate(node.output) if name)


@cache
def _half_slots(op_type: str, opset: int) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """Per formal input and output: whether it takes float16, or is never a float."""
    schema = onnx.defs.get_schema(op_type, opset, "")
    kinds = {entry.type_param_str: set(entry.allowed_type_strs) for entry in schema.type_constraints}

    def half(parameter: onnx.defs.OpSchema.FormalParameter) -> bool:
        types = kinds.get(parameter.type_str, {parameter.type_str})
        return "tensor(float16)" in types or "tensor(float)" not in types

    return tuple(half(p) for p in schema.inputs) or (True,), tuple(half(p) for p in schema.outputs)


def with_plain_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose constants are initializers of the type in which they are used: no Constant nodes, and no weights
    that are stored as float16 and cast to float32.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        array: NDArray[np.generic] | None = None
        if node.op_type == "Constant":
            array = _constant_value(node)
        elif node.op_type == "Cast" and node.input[0] in values and node.attribute[0].i == FLOAT:
            array = numpy_helper.to_array(values[node.input[0]]).astype(np.float32)
        if array is None:
            nodes.append(node)
        else:
            values[node.output[0]] = numpy_helper.from_array(array, node.output[0])
    used = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for name, tensor in values.items() if name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return result


def _constant_value(node: onnx.NodeProto) -> NDArray[np.generic]:
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if attribute.name not in kinds:
        raise ExportError(f"Constant {node.name}: {attribute.name} is not supported")
    return np.asarray(value, kinds[attribute.name])
