"""The R-CNN models of the catalogue, put together from their layers. The numbers are PaddleX's configurations'."""

from __future__ import annotations

from ..assigners.anchor_assigner import AnchorAssigner
from ..assigners.box_assigner import BoxAssigner
from ..assigners.box_matching import BalancedSampler
from ..input_spec import IMAGENET_NORMALIZATION, InputSpec
from .anchors import AnchorGenerator
from .box_head import BoxHead, TwoFCHead
from .cascade_head import CascadeHead
from .fpn import FPN
from .mask_head import MaskFeat, MaskHead
from .mask_rcnn import CascadeMaskRCNN, MaskRCNN, MaskRCNNDecode
from .resnet import Res5Head, ResNet
from .roi_extractor import RoIExtractor
from .rpn_head import ProposalLimits, RPNHead

_ANCHOR_SIZES = (32, 64, 128, 256, 512)
_FPN_STRIDES = (4, 8, 16, 32, 64)
# The map of stride 64 has anchors, but no boxes are cut from it.
_ROI_STRIDES = _FPN_STRIDES[:-1]


def mask_rcnn_fpn(
    num_classes: int, backbone: ResNet, *, roi_aligned: bool = False, random_sampling: bool = True
) -> MaskRCNN:
    """Mask R-CNN on a feature pyramid.

    roi_aligned: see `RoIExtractor`. random_sampling: see `BalancedSampler`.
    """
    neck = FPN(backbone.out_channels)
    channels = neck.out_channels[0]
    extractor = RoIExtractor(7, _ROI_STRIDES, roi_aligned)
    head = TwoFCHead(channels, resolution=extractor.resolution)
    return MaskRCNN(
        backbone,
        neck,
        _pyramid_rpn_head(channels, 1000, random_sampling),
        BoxHead(head, head.out_channels, num_classes, extractor, _box_assigner(num_classes, random_sampling)),
        _pyramid_mask_head(channels, num_classes, roi_aligned),
        _input_spec(pad_stride=32),
    )


def cascade_mask_rcnn_fpn(
    num_classes: int, backbone: ResNet, *, roi_aligned: bool = False, random_sampling: bool = True
) -> CascadeMaskRCNN:
    """Cascade Mask R-CNN with three stages on a feature pyramid. Arguments as of `mask_rcnn_fpn`."""
    neck = FPN(backbone.out_channels)
    channels = neck.out_channels[0]
    extractor = RoIExtractor(7, _ROI_STRIDES, roi_aligned)
    return CascadeMaskRCNN(
        backbone,
        neck,
        _pyramid_rpn_head(channels, 2000, random_sampling),
        CascadeHead(channels, num_classes, extractor, _box_assigner(num_classes, random_sampling)),
        _pyramid_mask_head(channels, num_classes, roi_aligned),
        _input_spec(pad_stride=32),
    )


def mask_rcnn_c4(
    num_classes: int, backbone: ResNet, *, roi_aligned: bool = False, random_sampling: bool = True
) -> MaskRCNN:
    """Mask R-CNN on one map of stride 16, res5 as the head of boxes and masks. Arguments as of `mask_rcnn_fpn`;
    `backbone` ends with res4.
    """
    channels, stride = backbone.out_channels[-1], backbone.out_strides[-1]
    anchors = AnchorGenerator([_ANCHOR_SIZES], [stride])
    head = Res5Head()
    box_head = BoxHead(
        head,
        head.out_channels,
        num_classes,
        RoIExtractor(14, [stride], roi_aligned),
        _box_assigner(num_classes, random_sampling),
        pool=True,
    )
    mask_feat = MaskFeat(head.out_channels, num_convs=0)
    return MaskRCNN(
        backbone,
        None,
        RPNHead(channels, anchors, ProposalLimits(12000, 2000, 2000), _anchor_assigner(random_sampling)),
        box_head,
        MaskHead(mask_feat, num_classes, 14, RoIExtractor(14, [stride], roi_aligned), share_box_features=True),
        _input_spec(pad_stride=1),
        MaskRCNNDecode(rpn_pre_nms_top_n=6000),
    )


def _pyramid_rpn_head(channels: int, train_top_n: int, random_sampling: bool) -> RPNHead:
    anchors = AnchorGenerator([[size] for size in _ANCHOR_SIZES], _FPN_STRIDES)
    # In training the maps' boxes are cut to `train_top_n` only once they are together.
    limits = ProposalLimits(2000, 2000, train_top_n)
    return RPNHead(channels, anchors, limits, _anchor_assigner(random_sampling))


def _pyramid_mask_head(channels: int, num_classes: int, roi_aligned: bool) -> MaskHead:
    extractor = RoIExtractor(14, _ROI_STRIDES, roi_aligned)
    return MaskHead(MaskFeat(channels), num_classes, 28, extractor, share_box_features=False)


def _anchor_assigner(random_sampling: bool) -> AnchorAssigner:
    return AnchorAssigner(BalancedSampler(256, 0.5, random_sampling))


def _box_assigner(num_classes: int, random_sampling: bool) -> BoxAssigner:
    return BoxAssigner(num_classes, BalancedSampler(512, 0.25, random_sampling))


def _input_spec(pad_stride: int) -> InputSpec:
    """Shorter side 800, longer side at most 1333."""
    return InputSpec(
        height=800,
        width=1333,
        resize="keep_ratio",
        interpolation="cubic",
        normalization=IMAGENET_NORMALIZATION,
        pad_stride=pad_stride,
    )
