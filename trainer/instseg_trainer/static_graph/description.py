"""`inference.yml`: what PaddleX has to know of a static graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from ..input_spec import InputSpec

_DRAW_THRESHOLD = 0.5
_ARCHITECTURES = {"ppyoloe_seg": "PPYOLOE", "mask_rtdetr": "DETR", "mask_rcnn": "RCNN", "solov2": "SOLOv2"}
"""PaddleX's names of the families."""
_MIN_SUBGRAPH_SIZES = {"PPYOLOE": 3, "DETR": 3, "RCNN": 40, "SOLOv2": 60}
"""Operators from which on Paddle Inference hands a part of the graph to TensorRT, the reference's numbers."""
_OPENCV_NUMBERS = {"linear": 1, "cubic": 2}


def describe(model: str, family: str, spec: InputSpec, labels: Sequence[str]) -> str:
    """The YAML text."""
    architecture = _ARCHITECTURES[family]
    content: dict[str, Any] = {
        "mode": "paddle",
        "draw_threshold": _DRAW_THRESHOLD,
        "metric": "COCO",
        "use_dynamic_shape": spec.resize == "keep_ratio",
        "Global": {"model_name": model},
        "arch": architecture,
        "min_subgraph_size": _MIN_SUBGRAPH_SIZES[architecture],
        "mask": True,
        "Preprocess": _steps(spec),
        "label_list": list(labels),
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _steps(spec: InputSpec) -> list[dict[str, Any]]:
    resize = {
        "type": "Resize",
        "interp": _OPENCV_NUMBERS[spec.interpolation],
        "keep_ratio": spec.resize == "keep_ratio",
        "target_size": [spec.height, spec.width],
    }
    mean, std = list(spec.normalization.mean), list(spec.normalization.std)
    plain = mean == [0.0] * 3 and std == [1.0] * 3
    normalize: dict[str, Any] = {"type": "NormalizeImage", "mean": mean, "std": std, "is_scale": True}
    if plain:
        normalize["norm_type"] = "none"
    steps = [normalize, resize] if spec.normalize_first else [resize, normalize]
    steps.append({"type": "Permute"})
    if spec.pad_stride > 1:
        steps.append({"type": "PadStride", "stride": spec.pad_stride})
    return steps
