"""A typed FP16 graph as a float32 graph that rounds where the typed one does.

ONNX Runtime has no float16 kernels for the CPU: it computes such graphs in float32 and drops the roundings between
nodes, so running the typed graph there says little about its error.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .graph_types import EXACT, FLOAT, HALF, element_types


def rounded_graph(typed: onnx.ModelProto) -> onnx.ModelProto:
    """Float32 throughout; every result that the typed graph has in float16 is rounded to float16, overflow to
    infinity included. Sums inside an operator are in float32, as tensor cores add them up.
    """
    types = element_types(typed)
    result = onnx.ModelProto()
    result.CopyFrom(typed)
    graph = result.graph
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        halves = [slot for slot, name in enumerate(node.output) if types.get(name) == HALF]
        if not halves:
            nodes.append(node)
            continue
        _widen(node)
        nodes.append(node)
        if node.op_type in EXACT:
            continue
        for slot in halves:
            name = node.output[slot]
            node.output[slot] = f"{name}_unrounded"
            nodes += [
                helper.make_node("Cast", [f"{name}_unrounded"], [f"{name}_half"], to=HALF),
                helper.make_node("Cast", [f"{name}_half"], [name], to=FLOAT),
            ]
    constants = [
        numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
        if tensor.data_type == HALF
        else tensor
        for tensor in graph.initializer
    ]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    return result


def _widen(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to":
            attribute.i = FLOAT
        elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == HALF:
            values = numpy_helper.to_array(attribute.t).astype(np.float32)
            attribute.t.CopyFrom(numpy_helper.from_array(values))
