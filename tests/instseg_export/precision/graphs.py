"""Small ONNX graphs, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Mapping[str, Sequence[int | str]],
    constants: Mapping[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    """A model of opset 17; inputs and outputs are float32."""
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in tensors.items()]
        for tensors in (inputs, outputs)
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    built = helper.make_graph(list(nodes), "test", *values, initializers)
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def type_of(model: onnx.ModelProto, tensor: str) -> str:
    """`FLOAT`, `FLOAT16`, … of a tensor of the graph."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    for value in (*inferred.input, *inferred.output, *inferred.value_info):
        if value.name == tensor:
            return TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    raise KeyError(tensor)


def product_types(model: onnx.ModelProto) -> list[str]:
    """The type of each convolution's and matrix product's result."""
    return [type_of(model, node.output[0]) for node in model.graph.node if node.op_type in ("Conv", "MatMul")]
