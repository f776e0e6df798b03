"""From a model's name to its layers."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

from .base import InstanceSegmentationModel
from .mask_rtdetr import LAYOUTS as MASK_RTDETR_LAYOUTS
from .mask_rtdetr import MaskRTDETR
from .ppyoloe_seg import PPYOLOESeg
from .rcnn_builders import cascade_mask_rcnn_fpn, mask_rcnn_c4, mask_rcnn_fpn
from .resnet import ResNet
from .solov2 import SOLOv2

_BUILDERS: dict[str, Callable[[int], InstanceSegmentationModel]] = {
    "PP-YOLOE_seg-S": lambda num_classes: PPYOLOESeg(num_classes, width_mult=0.5, depth_mult=0.33),
    "PP-YOLOE_seg-N": lambda num_classes: PPYOLOESeg(num_classes, width_mult=0.25, depth_mult=0.33),
    "SOLOv2": SOLOv2,
    **{f"Mask-RT-DETR-{size}": partial(MaskRTDETR, layout=layout) for size, layout in MASK_RTDETR_LAYOUTS.items()},
    "MaskRCNN-ResNet50": lambda num_classes: mask_rcnn_c4(num_classes, ResNet(50, num_stages=3, return_stages=[2])),
    "MaskRCNN-ResNet50-FPN": lambda num_classes: mask_rcnn_fpn(num_classes, ResNet(50)),
    "MaskRCNN-ResNet50-vd-FPN": lambda num_classes: mask_rcnn_fpn(num_classes, ResNet(50, "d")),
    "MaskRCNN-ResNet101-FPN": lambda num_classes: mask_rcnn_fpn(num_classes, ResNet(101)),
    "MaskRCNN-ResNet101-vd-FPN": lambda num_classes: mask_rcnn_fpn(num_classes, ResNet(101, "d")),
    "MaskRCNN-ResNeXt101-vd-FPN": lambda num_classes: mask_rcnn_fpn(
        num_classes, ResNet(101, "d", groups=64, base_width=4)
    ),
    "Cascade-MaskRCNN-ResNet50-FPN": lambda num_classes: cascade_mask_rcnn_fpn(num_classes, ResNet(50)),
    "Cascade-MaskRCNN-ResNet50-vd-SSLDv2-FPN": lambda num_classes: cascade_mask_rcnn_fpn(
        num_classes, ResNet(50, "d", learning_rates=(0.05, 0.05, 0.1, 0.15))
    ),
}


def model_names() -> tuple[str, ...]:
    return tuple(_BUILDERS)


def build_model(name: str, num_classes: int) -> InstanceSegmentationModel:
    """A freshly initialised model. Raises ValueError for an unknown name or a class count below one."""
    if name not in _BUILDERS:
        near = difflib.get_close_matches(name, _BUILDERS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown model {name!r}{hint} (known: {', '.join(_BUILDERS)})")
    if num_classes < 1:
        raise ValueError(f"number of classes must be at least 1, found {num_classes}")
    return _BUILDERS[name](num_classes)
