"""Which query is to find which object: the assignment of least total cost (Carion et al., "DETR", ECCV 2020, section
3.1; with the mask costs of Cheng et al., "Mask2Former", CVPR 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle.nn import functional as F

from ..centre_boxes import centre_to_corners
from .functional import giou_loss
from .point_sampling import Uniform, sample_maps, sample_target_masks
from .query_targets import Matches, QueryTargets

if TYPE_CHECKING:
    from ..models.mask_rtdetr_decoder import QueryPredictions


def cheapest_assignment(cost: NDArray[np.floating]) -> list[tuple[int, int]]:
    """Pairs (row, column) of least total cost, min(rows, columns) of them, by rising row.

    Shortest augmenting paths over dual prices (Kuhn, 1955; in the form of Jonker and Volgenant, 1987): a few
    milliseconds for the few objects of an image against 300 queries. Raises ValueError where a cost is not finite.
    """
    if not np.isfinite(cost).all():
        raise ValueError("assignment over costs that are not finite: the model's predictions have diverged")
    if cost.shape[0] > cost.shape[1]:
        return sorted((row, column) for column, row in cheapest_assignment(cost.T))
    values = cost.astype(np.float64)
    rows, columns = values.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)  # the row that holds each column
    for start in range(rows):
        distance = np.full(columns, np.inf)
        previous = np.full(columns, -1)  # the column before each one on its cheapest path, -1: the start itself
        done = np.zeros(columns, bool)
        row, column, travelled = start, -1, 0.0
        while True:
            through = travelled + values[row] - row_price[row] - column_price
            shorter = ~done & (through < distance)
            distance[shorter] = through[shorter]
            previous[shorter] = column
            column = int(np.where(done, np.inf, distance).argmin())
            travelled = float(distance[column])
            if row_of[column] < 0:
                break
            done[column] = True
            row = int(row_of[column])
        row_price[start] += travelled
        row_price[row_of[done]] += travelled - distance[done]
        column_price[done] -= travelled - distance[done]
        while column >= 0:  # hand the columns along the path over
            before = int(previous[column])
            row_of[column] = start if before < 0 else row_of[before]
            column = before
    return sorted((int(row), column) for column, row in enumerate(row_of) if row >= 0)


@dataclass(frozen=True)
class QueryWeights:
    """Of the parts of a query's cost in the matching, and of its loss."""

    cls: float = 4.0
    bbox: float = 5.0
    giou: float = 2.0
    mask: float = 5.0
    dice: float = 5.0


class HungarianMatcher:
    """points: at which masks are compared, the same ones for all masks of an image. alpha, gamma: of the focal cost of
    the class (Lin et al., "Focal Loss", 2017, equation 5).
    """

    def __init__(
        self, weights: QueryWeights | None = None, points: int = 12544, alpha: float = 0.25, gamma: float = 2.0
    ) -> None:
        self.weights = weights or QueryWeights()
        self.points = points
        self.alpha = alpha
        self.gamma = gamma

    @paddle.no_grad()
    def __call__(
        self,
        predictions: QueryPredictions,
        mask_features: paddle.Tensor,
        targets: QueryTargets,
        uniform: Uniform,
    ) -> Matches:
        if not targets.total:
            return Matches.from_lists([[] for _ in targets.counts])
        points = uniform([len(targets.counts), self.points, 2])
        pairs: list[list[tuple[int, int]]] = []
        for image, (start, count) in enumerate(zip(targets.starts(), targets.counts, strict=True)):
            if not count:
                pairs.append([])
                continue
            cost = self._query_cost(predictions, image, targets, slice(start, start + count))
            cost = cost + self._mask_cost(
                predictions.mask_embeddings[image],
                mask_features[image : image + 1],
                targets.masks[start : start + count],
                points[image : image + 1],
            )
            pairs.append([(query, start + target) for query, target in cheapest_assignment(cost.numpy())])
        return Matches.from_lists(pairs)

    def _query_cost(
        self, predictions: QueryPredictions, image: int, targets: QueryTargets, objects: slice
    ) -> paddle.Tensor:
        """Costs of class and box, (queries, objects of the image)."""
        scores = paddle.gather(F.sigmoid(predictions.class_logits[image]), targets.class_ids[objects], axis=1)
        positive = self.alpha * (1 - scores) ** self.gamma * -(scores + 1e-8).log()
        negative = (1 - self.alpha) * scores**self.gamma * -(1 - scores + 1e-8).log()
        boxes = predictions.boxes[image].unsqueeze(1)
        wanted = targets.boxes[objects].unsqueeze(0)
        distance = (boxes - wanted).abs().sum(-1)
        shape = [boxes.shape[0], wanted.shape[1], 4]
        giou = giou_loss(centre_to_corners(boxes).expand(shape), centre_to_corners(wanted).expand(shape)).squeeze(-1)
        weights = self.weights
        return weights.cls * (positive - negative) + weights.bbox * distance + weights.giou * (giou - 1)

    def _mask_cost(
        self, embeddings: paddle.Tensor, features: paddle.Tensor, masks: paddle.Tensor, points: paddle.Tensor
    ) -> paddle.Tensor:
        """Costs of cross entropy and Dice, (queries, objects); embeddings (queries, P), features (1, P, h, w), masks
        (objects, H, W), points (1, points, 2).
        """
        # Sampling is linear: the features' samples give the logits at the points, without whole maps of logits.
        logits = embeddings @ sample_maps(features, points).squeeze(0)
        rows = paddle.arange(masks.shape[0], dtype="int64")
        wanted = sample_target_masks(masks, rows, points.expand([masks.shape[0], -1, -1])).transpose([1, 0])
        # Cross entropy of x towards t is softplus(x) - x t.
        entropy = (F.softplus(logits).sum(-1, keepdim=True) - logits @ wanted) / self.points
        scores = F.sigmoid(logits)
        total = scores.sum(-1, keepdim=True) + wanted.sum(0)
        dice = 1 - (2 * (scores @ wanted) + 1) / (total + 1)
        return self.weights.mask * entropy + self.weights.dice * dice
