"""A float32 graph that rounds to bfloat16 where a CPU that computes in bfloat16 does.

OpenVINO rounds what flows between operators, and the weights; sums inside an operator are float32. What comes after the
last convolutions and matrix products, on the way to the outputs, stays in float32 there, and what makes indices.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .graph_types import EXACT, FLOAT, PRODUCTS, element_types, with_plain_constants


def to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest numbers with 8 bits of mantissa, halves to even; for finite values."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32).reshape(values.shape)


def bfloat16_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Float32 throughout, for any backend; inputs and outputs keep their names."""
    result = with_plain_constants(model)
    types = element_types(result)
    graph = result.graph
    exact = _after_products(graph) | _making_indices(graph, types)
    weights = {name for node in graph.node if node.op_type in PRODUCTS for name in node.input}
    nodes: list[onnx.NodeProto] = []
    inputs = {value.name: f"{value.name}_rounded" for value in graph.input if types[value.name] == FLOAT}
    for name, rounded in inputs.items():
        nodes += _rounding(name, rounded)
    for index, node in enumerate(graph.node):
        nodes.append(node)
        for slot, name in enumerate(node.input):
            node.input[slot] = inputs.get(name, name)
        if index in exact or node.op_type in EXACT:
            continue
        for slot, name in enumerate(node.output):
            if types.get(name) == FLOAT:
                node.output[slot] = f"{name}_unrounded"
                nodes += _rounding(f"{name}_unrounded", name)
    for tensor in graph.initializer:
        if tensor.name in weights and tensor.data_type == FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(to_bfloat16(numpy_helper.to_array(tensor)), tensor.name))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return result


def _rounding(source: str, target: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [source], [f"{target}_bfloat16"], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", [f"{target}_bfloat16"], [target], to=FLOAT),
    ]


def _after_products(graph: onnx.GraphProto) -> set[int]:
    return _before(graph, [value.name for value in graph.output])


def _making_indices(graph: onnx.GraphProto, types: dict[str, int]) -> set[int]:
    """What integers are made from: no index may move because a position was rounded."""
    casts = [node.input[0] for node in graph.node if node.op_type == "Cast" and types.get(node.output[0]) != FLOAT]
    return _before(graph, [name for name in casts if types.get(name) == FLOAT])


def _before(graph: onnx.GraphProto, tensors: list[str]) -> set[int]:
    """The nodes that the tensors are computed by, back to the last products."""
    producer = {name: index for index, node in enumerate(graph.node) for name in node.output}
    found: set[int] = set()
    waiting = list(tensors)
    while waiting:
        index = producer.get(waiting.pop())
        if index is None or index in found or graph.node[index].op_type in PRODUCTS:
            continue
        found.add(index)
        waiting += graph.node[index].input
    return found
