"""A float32 stage -> the same stage with INT8 convolutions and products, by NNCF, for OpenVINO on CPUs."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import ExportError
from .float_nodes import FloatNodes
from .graph_types import with_plain_constants
from .islands import Island

# Operators that OpenVINO computes in integers; others are float32 in any case.
_QUANTISED_TYPES = frozenset({"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"})
# They hand integers on as they are: what comes before them may be rounded instead of what they give.
_MOVING_TYPES = frozenset(
    {"Concat", "Gather", "Interpolate", "MaxPool", "Reshape", "Split", "Squeeze", "StridedSlice", "Transpose"}
    | {"Slice", "Unsqueeze", "VariadicSplit"}
)
_NO_TELEMETRY = "NNCF_CI"
_FAMILIES_WITH_ATTENTION = frozenset({"mask_rtdetr"})
# Their activations range from the smallest to the largest value in all images. NNCF's way, that of the others, goes to
# the mean of the images' extremes: Mask-RT-DETR loses by what that cuts off, PP-YOLOE would lose by coarser steps.
# int8_islands.yaml has the figures.
_FAMILIES_OF_WIDEST_RANGES = frozenset({"mask_rtdetr"})


class CalibrationData(Sized, Protocol):
    """Inputs of the stage by name, one dict per image; may be gone through several times."""

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float32]]]: ...


@dataclass(frozen=True)
class QuantisedStage:
    """model: an `openvino.Model`. int8_nodes: convolutions and matrix products computed in integers. float_nodes: those
    in float32, by reason.
    """

    model: Any
    int8_nodes: int
    float_nodes: dict[str, int]

    def save(self, file: Path) -> Path:
        """Writes the graph to `file` (.xml) and the weights beside it; returns the latter's file."""
        import openvino

        openvino.save_model(self.model, file, compress_to_fp16=False)
        return file.with_suffix(".bin")


def check_nncf() -> None:
    """Raises `ExportError` with the line that installs NNCF where it is missing."""
    if importlib.util.find_spec("nncf") is None:
        raise ExportError("--precision int8 needs NNCF, which is not installed: pip install 'instseg-rt[int8]'")


def nncf_version() -> str:
    return importlib.metadata.version("nncf")


def import_nncf() -> ModuleType:
    """NNCF, kept from reporting its use to its makers: it does unless this variable is set when it is imported."""
    before = os.environ.get(_NO_TELEMETRY)
    os.environ[_NO_TELEMETRY] = "1"
    try:
        nncf = importlib.import_module("nncf")
    finally:
        if before is None:
            del os.environ[_NO_TELEMETRY]
        else:
            os.environ[_NO_TELEMETRY] = before
    nncf.set_log_level(logging.ERROR)
    return nncf


def quantise(file: Path, data: CalibrationData, family: str, islands: Sequence[Island]) -> QuantisedStage:
    """Quantises what NNCF quantises for CPUs, but for the islands.

    file: the stage's ONNX. The ranges of activations are those on `data`. Weights have 7 bits: processors without VNNI
    add pairs of products in 16 bits, which 8 bits can overflow, and a bundle gives the same on all of them.
    """
    import openvino

    nncf = import_nncf()
    model = openvino.Core().read_model(file)
    ignored = _ignored(onnx.load(file), model, islands)
    parameters = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
    if family in _FAMILIES_OF_WIDEST_RANGES:
        estimators = importlib.import_module("nncf.quantization.range_estimator")
        parameters.activations_range_estimator_params = estimators.RangeEstimatorParametersSet.MINMAX
    quantised = nncf.quantize(
        model,
        nncf.Dataset(data),
        preset=nncf.QuantizationPreset.MIXED,  # activations are not symmetric: SiLU and ReLU
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(data),
        model_type=nncf.ModelType.TRANSFORMER if family in _FAMILIES_WITH_ATTENTION else None,
        ignored_scope=nncf.IgnoredScope(names=list(ignored), validate=False) if ignored else None,
        advanced_parameters=parameters,
    )
    return _counted(quantised, ignored)


def _ignored(graph: onnx.ModelProto, model: Any, islands: Sequence[Island]) -> dict[str, str]:
    """OpenVINO's names of the islands' nodes, with the island's name."""
    if not islands:
        return {}
    found = FloatNodes(with_plain_constants(graph))
    found.add_islands(islands)
    own = {island.name for island in islands}
    nodes = found.graph.node
    # There a node without a name has that of its result, and so has one whose result is the stage's.
    names = {
        name: reason
        for index, reason in found.reasons.items()
        if reason in own
        for name in (nodes[index].name, nodes[index].output[0])
        if name
    }
    # A convolution with a bias becomes two nodes there: the second has its name, the first that with an addition.
    names |= {f"{name}/WithoutBiases": reason for name, reason in names.items()}
    known = {node.get_friendly_name() for node in model.get_ops()}
    return {name: reason for name, reason in names.items() if name in known}


def _counted(model: Any, ignored: dict[str, str]) -> QuantisedStage:
    int8_nodes = 0
    floats: Counter[str] = Counter()
    for node in model.get_ops():
        if node.get_type_name() not in _QUANTISED_TYPES:
            continue
        if _is_rounded(node.input_value(0).get_node()):
            int8_nodes += 1
        else:
            floats[ignored.get(node.get_friendly_name(), "left in float32 by NNCF")] += 1
    if not int8_nodes:
        raise ExportError("nothing of this stage can be quantised: it has no convolution or matrix product")
    return QuantisedStage(model, int8_nodes, dict(floats.most_common()))


def _is_rounded(node: Any) -> bool:
    """Whether every value of the node's result was rounded before it came there."""
    kind = node.get_type_name()
    if kind == "FakeQuantize":
        return True
    if kind not in _MOVING_TYPES:
        return False
    sources = node.input_values() if kind == "Concat" else [node.input_value(0)]
    return all(_is_rounded(source.get_node()) for source in sources)
