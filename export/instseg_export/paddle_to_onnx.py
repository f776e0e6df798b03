"""A stage's Paddle layer -> one ONNX graph with named inputs, outputs and axes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxslim
import paddle
from onnx import numpy_helper

from .captured import captured_output
from .errors import ExportError
from .stages import Stage, StageTensor

# Operators that TensorRT has no (or only a plug-in) answer to, or whose output sizes depend on data.
_REFUSED_OPERATORS = {"If", "Loop", "Scan", "NonMaxSuppression", "NonZero", "RoiAlign", "GridSample"}
_SMALLEST_HALVED_WEIGHT = 256


def convert_stage(stage: Stage, opset: int) -> onnx.ModelProto:
    """The stage's graph, simplified and checked; its inputs and outputs have the stage's names and axes."""
    import paddle2onnx

    stage.layer.eval()
    with tempfile.TemporaryDirectory(prefix="instseg-export-") as folder:
        prefix = str(Path(folder) / "stage")
        # Both libraries report on the terminal what they do.
        with captured_output() as lines:
            paddle.jit.save(stage.layer, prefix, input_spec=[_input_spec(tensor) for tensor in stage.inputs])
            _narrow_epsilons(Path(f"{prefix}.json"))
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
            said = lines[-1] if lines else "it says nothing"
            raise ExportError(f"stage {stage.name}: the conversion to ONNX wrote no file: {said}")
        model = onnx.load(file)
    _rename_outputs(model, stage)
    _name_axes(model, stage)
    model = onnxslim.slim(model)
    _name_axes(model, stage)
    check_stage(model)
    return model


def _input_spec(tensor: StageTensor) -> paddle.static.InputSpec:
    return paddle.static.InputSpec(
        [axis if isinstance(axis, int) else -1 for axis in tensor.axes], "float32", tensor.name
    )


def _narrow_epsilons(program: Path) -> None:
    """Paddle keeps the epsilon of some norms as float64, which the converter reads as float32: garbage, without a
    word. Rewrites them in the saved program.
    """
    content = json.loads(program.read_text(encoding="utf-8"))

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            attribute = value.get("AT")
            if value.get("N") == "epsilon" and isinstance(attribute, dict) and attribute.get("#") == "0.a_f64":
                attribute["#"] = "0.a_f32"
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                visit(item)

    visit(content)
    program.write_text(json.dumps(content), encoding="utf-8")


def _rename_outputs(model: onnx.ModelProto, stage: Stage) -> None:
    outputs = model.graph.output
    if len(outputs) != len(stage.outputs):
        names = ", ".join(tensor.name for tensor in stage.outputs)
        raise ExportError(f"stage {stage.name}: the graph has {len(outputs)} outputs, expected {names}")
    new_name = {output.name: tensor.name for output, tensor in zip(outputs, stage.outputs, strict=True)}
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            for index, tensor in enumerate(tensors):
                tensors[index] = new_name.get(tensor, tensor)
    for output in outputs:
        output.name = new_name[output.name]


def _name_axes(model: onnx.ModelProto, stage: Stage) -> None:
    """Sizes and names of the stage's axes into the graph's inputs and outputs; raises where the graph contradicts."""
    for value, tensor in zip((*model.graph.input, *model.graph.output), (*stage.inputs, *stage.outputs), strict=True):
        dims = value.type.tensor_type.shape.dim
        if len(dims) != len(tensor.axes):
            raise ExportError(f"stage {stage.name}, {value.name}: expected {tensor.axes}, found {tensor_shape(value)}")
        for dim, axis in zip(dims, tensor.axes, strict=True):
            if isinstance(axis, str):
                dim.dim_param = axis
            elif axis is not None and dim.dim_value not in (0, axis):
                raise ExportError(
                    f"stage {stage.name}, {value.name}: expected {tensor.axes}, found {tensor_shape(value)}"
                )
            elif axis is not None:
                dim.dim_value = axis
            elif not dim.dim_value:
                raise ExportError(
                    f"stage {stage.name}, {value.name}: an axis of {tensor_shape(value)} has no size; "
                    f"expected {tensor.axes}"
                )
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
        if not dims or dims[0].dim_value:
            raise ExportError(f"{value.name}: expected a first axis of any size, found {tensor_shape(value)}")


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
