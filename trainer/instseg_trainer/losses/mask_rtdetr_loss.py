"""The loss of Mask-RT-DETR: class, box and mask of every layer's queries, matched or denoised.

Class: varifocal (Zhang et al., "VarifocalNet", CVPR 2021, equation 2) towards the overlap with the object (RT-DETR,
section 4.3): that of the masks in the last layer, that of the boxes before it. Masks: cross entropy and Dice at
sampled points (Li et al., "Mask DINO", CVPR 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import paddle
from paddle.nn import functional as F

from ..centre_boxes import centre_to_corners
from .functional import giou_loss
from .hungarian_matcher import HungarianMatcher, QueryWeights
from .point_sampling import PointSampling, Uniform, dice_loss, sample_maps, sample_target_masks, uncertain_points
from .query_targets import Matches, QueryTargets

if TYPE_CHECKING:
    from ..models.denoising import DenoisingQueries
    from ..models.mask_rtdetr_decoder import QueryPredictions

PARTS = ("class", "bbox", "giou", "mask", "dice")


@dataclass(frozen=True)
class MaskRTDETRLossSettings:
    """alpha, gamma: of the varifocal loss."""

    weights: QueryWeights = field(default_factory=QueryWeights)
    points: PointSampling = field(default_factory=PointSampling)
    alpha: float = 0.75
    gamma: float = 2.0


def varifocal_loss_with_logits(
    logits: paddle.Tensor, targets: paddle.Tensor, labels: paddle.Tensor, alpha: float, gamma: float
) -> paddle.Tensor:
    """Sum over all elements, the weight taking part in the gradient. targets: 0 for negatives; labels: 0 or 1."""
    weight = alpha * F.sigmoid(logits).pow(gamma) * (1 - labels) + targets * labels
    return (F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weight).sum()


@paddle.no_grad()
def box_ious(boxes: paddle.Tensor, others: paddle.Tensor) -> paddle.Tensor:
    """IoU of each pair, (M, 4) x1, y1, x2, y2 twice -> (M,)."""
    low = paddle.maximum(boxes[:, :2], others[:, :2])
    high = paddle.minimum(boxes[:, 2:], others[:, 2:])
    overlap = (high - low).clip(0).prod(-1)
    area, other_area = ((b[:, 2:] - b[:, :2]).prod(-1).clip(0) for b in (boxes, others))
    return overlap / (area + other_area - overlap + 1e-9)


@paddle.no_grad()
def mask_ious(logits: paddle.Tensor, masks: paddle.Tensor, rows: paddle.Tensor) -> paddle.Tensor:
    """IoU of logits (M, h, w) > 0 with the targets masks (N, H, W)[rows], compared at (2 h, 2 w) -> (M,)."""
    size = [2 * int(logits.shape[1]), 2 * int(logits.shape[2])]

    def binary(maps: paddle.Tensor, threshold: float) -> paddle.Tensor:
        resized = F.interpolate(maps.unsqueeze(0), size, mode="bilinear", align_corners=False).squeeze(0)
        return (resized > threshold).astype("float32").flatten(1)

    found = binary(logits, 0.0)
    wanted = paddle.gather(binary(masks, 0.5), rows)
    overlap = (found * wanted).sum(1)
    # The reference's smoothing: two empty masks agree.
    return (overlap + 1e-2) / (found.sum(1) + wanted.sum(1) - overlap + 1e-2)


@dataclass
class _Batch:
    """What the losses of all layers share. count: objects per device, at least 1."""

    mask_features: paddle.Tensor
    targets: QueryTargets
    uniform: Uniform
    count: paddle.Tensor


class MaskRTDETRLoss:
    """Sums over the objects of a batch, divided by their number."""

    def __init__(
        self,
        settings: MaskRTDETRLossSettings | None = None,
        matcher: HungarianMatcher | None = None,
    ) -> None:
        self.settings = settings or MaskRTDETRLossSettings()
        self.matcher = matcher or HungarianMatcher(points=self.settings.points.points)

    def __call__(
        self,
        layers: Sequence[QueryPredictions],
        denoised: Sequence[QueryPredictions],
        mask_features: paddle.Tensor,
        targets: QueryTargets,
        denoising: DenoisingQueries | None,
        uniform: Uniform,
    ) -> dict[str, paddle.Tensor]:
        """layers: of the matched queries, the final one last; denoised: those of the denoising queries, none without.

        Returns `loss` and its parts `loss_X` (final layer), `loss_X_aux` (sum of the others), `loss_X_dn` and
        `loss_X_aux_dn` (denoising) for X in `PARTS`.
        """
        batch = _Batch(mask_features, targets, uniform, _mean_count(targets.total))
        matches = [self.matcher(predictions, mask_features, targets, uniform) for predictions in layers]
        losses = self._all_layers(layers, matches, batch, "")
        if denoising is not None:
            batch.count = batch.count * denoising.groups
            losses |= self._all_layers(denoised, [denoising.matches] * len(denoised), batch, "_dn")
        else:
            losses |= {f"{name}_dn": paddle.zeros([]) for name in losses}
        return {"loss": paddle.add_n(list(losses.values())), **losses}

    def _all_layers(
        self, layers: Sequence[QueryPredictions], matches: Sequence[Matches], batch: _Batch, suffix: str
    ) -> dict[str, paddle.Tensor]:
        """The last layer's losses, and the sums of the others'."""
        *others, final = [
            self._layer(predictions, found, batch, final=index == len(layers) - 1)
            for index, (predictions, found) in enumerate(zip(layers, matches, strict=True))
        ]
        losses = {f"loss_{part}{suffix}": final[part] for part in PARTS}
        return losses | {f"loss_{part}_aux{suffix}": paddle.add_n([layer[part] for layer in others]) for part in PARTS}

    def _layer(
        self, predictions: QueryPredictions, matches: Matches, batch: _Batch, *, final: bool
    ) -> dict[str, paddle.Tensor]:
        """One layer's losses. final: the class scores follow the masks' overlap, not the boxes'."""
        targets, weights = batch.targets, self.settings.weights
        if not matches.total:
            # Zero, but connected to the graph: every parameter keeps a (zero) gradient, as several devices need it.
            zero = 0.0 * (predictions.boxes.sum() + predictions.mask_embeddings.sum() + batch.mask_features.sum())
            nothing = paddle.zeros_like(predictions.class_logits)
            classes = self._class_loss(predictions.class_logits, nothing, nothing)
            return {
                "class": weights.cls * classes / batch.count,
                "bbox": zero,
                "giou": zero,
                "mask": zero,
                "dice": zero,
            }
        boxes, wanted = matches.gather(predictions.boxes), paddle.gather(targets.boxes, matches.target)
        corners, wanted_corners = centre_to_corners(boxes), centre_to_corners(wanted)
        logits = _matched_mask_logits(predictions.mask_embeddings, batch.mask_features, matches)
        if final:
            overlap = mask_ious(logits.detach(), targets.masks, matches.target)
        else:
            overlap = box_ious(corners.detach(), wanted_corners)
        place = paddle.stack([matches.image, matches.query, paddle.gather(targets.class_ids, matches.target)], axis=-1)
        shape = predictions.class_logits.shape
        scores, labels = (paddle.scatter_nd(place, x, shape) for x in (overlap, paddle.ones_like(overlap)))
        entropy, dice = self._mask_losses(logits, targets.masks, matches.target, batch.uniform)
        sums = {
            "class": weights.cls * self._class_loss(predictions.class_logits, scores, labels),
            "bbox": weights.bbox * (boxes - wanted).abs().sum(),
            "giou": weights.giou * giou_loss(corners, wanted_corners).sum(),
            "mask": weights.mask * entropy,
            "dice": weights.dice * dice,
        }
        return {part: value / batch.count for part, value in sums.items()}

    def _class_loss(self, logits: paddle.Tensor, scores: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        return varifocal_loss_with_logits(logits, scores, labels, self.settings.alpha, self.settings.gamma)

    def _mask_losses(
        self, logits: paddle.Tensor, masks: paddle.Tensor, rows: paddle.Tensor, uniform: Uniform
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Cross entropy, a mean over the points, and Dice of logits (M, h, w), summed over the masks."""
        points = uncertain_points(logits.detach(), self.settings.points, uniform)
        found = sample_maps(logits.unsqueeze(1), points).squeeze(1)
        wanted = sample_target_masks(masks, rows, points)
        entropy = F.binary_cross_entropy_with_logits(found, wanted, reduction="none").mean(1).sum()
        return entropy, dice_loss(found, wanted).sum()


def _mean_count(total: int) -> paddle.Tensor:
    """Objects per device, at least one."""
    count = paddle.to_tensor(float(total))
    devices = paddle.distributed.get_world_size()
    if devices > 1:
        paddle.distributed.all_reduce(count)
        count = count / devices
    return count.clip(min=1.0)


def _matched_mask_logits(embeddings: paddle.Tensor, mask_features: paddle.Tensor, matches: Matches) -> paddle.Tensor:
    """Only the matched queries' maps, (M, h, w): those of all queries would be several hundred megabytes a layer."""
    height, width = mask_features.shape[2:]
    parts = paddle.split(matches.gather(embeddings), [c for c in matches.counts if c])
    images = [image for image, count in enumerate(matches.counts) if count]
    maps = [part @ mask_features[image].flatten(1) for part, image in zip(parts, images, strict=True)]
    return paddle.concat(maps).reshape([-1, height, width])
