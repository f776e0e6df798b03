"""PP-YOLOE_seg and Mask-RT-DETR, which stretch every image to one size."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional as F

from ..centre_boxes import centre_to_corners
from ..models.mask_rtdetr import MaskRTDETR
from ..models.ppyoloe_seg import PPYOLOESeg
from .rows import at_least_one, one_image, original_size, row_count


class PPYOLOESegGraph(nn.Layer):
    """im_shape (1, 2), image (1, 3, H, W), scale_factor (1, 2) -> rows (N, 6) class, score, x1, y1, x2, y2 in pixels of
    the original image; N (1,) int32; masks (N, h, w) float32 of 0 and 1. Where nothing is found, one row of zeros.
    """

    def __init__(self, model: PPYOLOESeg) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, im_shape: paddle.Tensor, image: paddle.Tensor, scale_factor: paddle.Tensor
    ) -> tuple[paddle.Tensor, ...]:
        im_shape, scale_factor = one_image(im_shape), one_image(scale_factor)
        outputs = self.model.stage_outputs(image)
        decode = self.model.decode
        rows, keep, _ = paddle._C_ops.multiclass_nms3(
            outputs.boxes,
            outputs.scores,
            None,  # type: ignore[arg-type]  # the number of boxes per image: all alike
            decode.score_threshold,
            decode.nms_top_k,
            decode.keep_top_k,
            decode.nms_iou_threshold,
            True,  # half-open boxes
            1.0,
            -1,  # no background class
        )
        rows = at_least_one(rows, [0.0] * 6)
        keep = at_least_one(keep.reshape([-1, 1]).astype("int64"), [0]).flatten()
        coefficients = paddle.gather(outputs.mask_coefficients[0].transpose([1, 0]), keep)
        height, width = image.shape[2], image.shape[3]
        low = outputs.prototypes
        maps = F.sigmoid(coefficients @ low[0].flatten(1)).reshape([1, -1, low.shape[2], low.shape[3]])
        maps = F.interpolate(maps, [height, width], mode="bilinear", align_corners=False)[0]
        x = paddle.arange(width, dtype="float32").reshape([1, 1, -1])
        y = paddle.arange(height, dtype="float32").reshape([1, -1, 1])
        x1, y1, x2, y2 = (rows[:, i].reshape([-1, 1, 1]) for i in range(2, 6))
        inside = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
        maps = maps * inside.astype("float32")
        original = original_size(im_shape, scale_factor).astype("int32")
        maps = F.interpolate(maps.unsqueeze(0), [original[0], original[1]], mode="bilinear", align_corners=False)[0]
        masks = (maps > decode.mask_threshold).astype("float32")
        scale = paddle.concat([scale_factor[0].flip([0])] * 2)
        rows = paddle.concat([rows[:, :2], rows[:, 2:] / scale], axis=1)
        return rows, row_count(rows), masks


class MaskRTDETRGraph(nn.Layer):
    """As `PPYOLOESegGraph`; always N = `decode.keep_top_k` rows, masks int32."""

    def __init__(self, model: MaskRTDETR) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, im_shape: paddle.Tensor, image: paddle.Tensor, scale_factor: paddle.Tensor
    ) -> tuple[paddle.Tensor, ...]:
        im_shape, scale_factor = one_image(im_shape), one_image(scale_factor)
        outputs = self.model(image)
        found = outputs.predictions
        decode, classes = self.model.decode, self.model.num_classes
        queries = self.model.transformer.layout.queries
        scores, pair = paddle.topk(
            F.sigmoid(found.class_logits[0]).flatten(), min(decode.keep_top_k, queries * classes)
        )
        query = pair // classes
        original = original_size(im_shape, scale_factor)
        boxes = paddle.gather(centre_to_corners(found.boxes[0]), query) * paddle.concat([original.flip([0])] * 2)
        features = outputs.mask_features
        embeddings = paddle.gather(found.mask_embeddings[0], query)
        logits = (embeddings @ features[0].flatten(1)).reshape([1, -1, features.shape[2], features.shape[3]])
        size = original.astype("int32")
        logits = F.interpolate(logits, [size[0], size[1]], mode="bilinear", align_corners=False)[0]
        masks = (F.sigmoid(logits) > decode.mask_threshold).astype("int32")
        labels = (pair % classes).astype("float32")
        rows = paddle.concat([labels.unsqueeze(1), scores.unsqueeze(1), boxes], axis=1)
        return rows, row_count(rows), masks
