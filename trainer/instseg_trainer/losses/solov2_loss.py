"""The loss of SOLOv2: dice loss of the masks, focal loss of the cells' classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import paddle
from paddle.nn import functional as F

from ..assigners.solov2_targets import GridTargets, SOLOv2TargetAssigner
from ..targets import Targets


def dice_loss(probabilities: paddle.Tensor, targets: paddle.Tensor, epsilon: float = 1e-3) -> paddle.Tensor:
    """(N, P) twice -> (N,): 1 - 2 sum(p t) / (sum(p^2) + sum(t^2)) (Wang et al., "SOLO", ECCV 2020, equation 5),
    `epsilon` added to both sums.
    """
    overlap = (probabilities * targets).sum(axis=1)
    total = (probabilities.square().sum(axis=1) + epsilon) + (targets.square().sum(axis=1) + epsilon)
    return 1 - 2 * overlap / total


class SOLOv2Loss:
    """mask_weight: factor on the dice loss; focal_gamma, focal_alpha: see Lin et al., "Focal Loss for Dense Object
    Detection", ICCV 2017, equation 5.
    """

    def __init__(
        self,
        num_classes: int,
        grid_sizes: Sequence[int],
        mask_weight: float = 3.0,
        focal_gamma: float = 2.0,
        focal_alpha: float = 0.25,
    ) -> None:
        self.num_classes = num_classes
        self.mask_weight = mask_weight
        self.focal_gamma = focal_gamma
        self.focal_alpha = focal_alpha
        self.assigner = SOLOv2TargetAssigner(grid_sizes)

    def __call__(
        self,
        class_logits: paddle.Tensor,
        kernels: paddle.Tensor,
        mask_features: paddle.Tensor,
        targets: Targets,
    ) -> dict[str, paddle.Tensor]:
        """class_logits (B, L, num_classes), kernels (B, L, D), mask_features (B, D, H / 4, W / 4)."""
        per_image = self._assign(targets)
        loss_ins = self.mask_weight * self._mask_loss(kernels, mask_features, per_image)
        loss_cate = self._class_loss(class_logits, per_image)
        return {"loss": loss_ins + loss_cate, "loss_ins": loss_ins, "loss_cate": loss_cate}

    def _assign(self, targets: Targets) -> list[GridTargets]:
        boxes, class_ids = targets.boxes.numpy(), targets.class_ids.numpy()[:, :, 0]
        masks, real = targets.masks.numpy(), targets.pad_mask.numpy()[:, :, 0] > 0
        return [
            self.assigner(boxes[image][chosen], class_ids[image][chosen], masks[image][chosen])
            for image, chosen in enumerate(real)
        ]

    @staticmethod
    def _mask_loss(
        kernels: paddle.Tensor, mask_features: paddle.Tensor, per_image: Sequence[GridTargets]
    ) -> paddle.Tensor:
        """Mean dice loss over all pairs of an object and a cell that answers for it."""
        losses = []
        # unbind, not indexing: one gradient for the whole batch instead of a zero-filled one per image.
        for image_kernels, features, found in zip(paddle.unbind(kernels), paddle.unbind(mask_features), per_image):
            # A thin object may vanish at a quarter of the size.
            visible = np.asarray(found.masks.any(axis=(1, 2)))[found.objects]
            if not visible.any():
                continue
            chosen = paddle.gather(image_kernels, paddle.to_tensor(found.cells[visible]))
            masks = paddle.to_tensor(found.masks.reshape([len(found.masks), -1]))
            masks = paddle.gather(masks, paddle.to_tensor(found.objects[visible])).astype("float32")
            losses.append(dice_loss(F.sigmoid(chosen @ features.flatten(1)), masks))
        if not losses:
            # Zero, but connected to the graph: every parameter keeps a (zero) gradient, as several devices need it.
            return 0.0 * (kernels.sum() + mask_features.sum())
        return paddle.concat(losses).mean()

    def _class_loss(self, class_logits: paddle.Tensor, per_image: Sequence[GridTargets]) -> paddle.Tensor:
        """Sum over all cells and classes, over the number of cells that answer for an object, plus one."""
        class_ids = paddle.to_tensor(np.stack([found.class_ids for found in per_image]))
        one_hot = F.one_hot(class_ids + 1, self.num_classes + 1)[..., 1:]  # background is the dropped column
        positive = sum(found.num_positive_cells for found in per_image)
        total = F.sigmoid_focal_loss(
            class_logits, one_hot, alpha=self.focal_alpha, gamma=self.focal_gamma, reduction="sum"
        )
        return total / (positive + 1.0)
