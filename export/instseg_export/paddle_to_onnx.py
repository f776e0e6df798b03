"""One Paddle layer -> one ONNX graph with named outputs and a dynamic batch."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxslim
import paddle
from onnx import numpy_helper
from paddle import nn

from .errors import ExportError

BATCH = "batch"
# Operators that TensorRT has no (or only a plug-in) answer to, or whose output sizes depend on data.
_REFUSED_OPERATORS = {"If", "Loop", "Scan", "NonMaxSuppression", "NonZero", "RoiAlign", "GridSample"}
_SMALLEST_HALVED_WEIGHT = 256


def convert_stage(
    stage: nn.Layer, input_name: str, input_shape: Sequence[int], output_names: Sequence[str], opset: int
) -> onnx.ModelProto:
    """`stage` takes one float32 tensor (batch, *input_shape) and returns one tensor per output name."""
    import paddle2onnx

    stage.eval()
    with tempfile.TemporaryDirectory(prefix="instseg-export-") as folder:
        prefix = str(Path(folder) / "stage")
        spec = paddle.static.InputSpec([-1, *input_shape], "float32", input_name)
        paddle.jit.save(stage, prefix, input_spec=[spec])
        # The converter's own optimisers are left out: one of them installs packages while it runs.
        paddle2onnx.export(
            f"{prefix}.json",
            f"{prefix}.pdiparams",
            f"{prefix}.onnx",
            opset_version=opset,
            auto_upgrade_opset=False,
            enable_onnx_checker=True,
            enable_optimize=False,
            optimize_tool="None",
        )
        file = Path(f"{prefix}.onnx")
        if not file.is_file():
            raise ExportError(f"stage with outputs {', '.join(output_names)}: the conversion to ONNX wrote no file")
        model = onnx.load(file)
    _rename_outputs(model, output_names)
    _name_batch(model)
    model = onnxslim.slim(model)
    check_stage(model)
    return model


def _rename_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    outputs = model.graph.output
    if len(outputs) != len(names):
        raise ExportError(f"the converted stage has {len(outputs)} outputs, expected {len(names)}: {', '.join(names)}")
    new_name = {output.name: name for output, name in zip(outputs, names, strict=True)}
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            for index, tensor in enumerate(tensors):
                tensors[index] = new_name.get(tensor, tensor)
    for output in outputs:
        output.name = new_name[output.name]


def _name_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    del model.graph.value_info[:]


def check_stage(model: onnx.ModelProto) -> None:
    """Raises `ExportError` where the graph is not what every backend can take."""
    onnx.checker.check_model(model, full_check=True)
    domains = {entry.domain for entry in model.opset_import} - {"", "ai.onnx"}
    operators = {node.op_type for node in model.graph.node} & _REFUSED_OPERATORS
    if domains or operators:
        raise ExportError(
            f"the stage uses {', '.join(sorted(domains | operators))}: standard operators without control flow only"
        )
    for node in model.graph.node:
        for attribute in node.attribute:
            # The converter has been seen to read a float64 epsilon as float32: garbage, and no warning.
            if attribute.name == "epsilon" and not 1e-12 < attribute.f < 1e-2:
                raise ExportError(f"{node.op_type} {node.name}: epsilon is {attribute.f}")
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims[0].dim_param != BATCH or any(not d.dim_value for d in dims[1:]):
            raise ExportError(
                f"{value.name}: expected a dynamic batch and fixed other sizes, found {tensor_shape(value)}"
            )


def tensor_shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def halve_weights(model: onnx.ModelProto) -> None:
    """Stores large float32 weights as float16 with a Cast behind each: half the file, the same float32 graph at run
    time.

    Weights beyond float16's range stay as they are. The rounding (2^-11 relative) is part of what the verification
    measures.
    """
    graph = model.graph
    casts = []
    for initializer in graph.initializer:
        array = numpy_helper.to_array(initializer)
        if (
            array.dtype != np.float32
            or array.size < _SMALLEST_HALVED_WEIGHT
            or np.abs(array).max() > np.finfo(np.float16).max
        ):
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(array.astype(np.float16), f"{name}_fp16"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}_fp16"], [name], name=f"{name}_to_float", to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
