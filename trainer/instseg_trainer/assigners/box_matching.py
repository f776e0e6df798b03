"""Which object a box is compared with: matching by overlap, and choosing a balanced sample of the matches."""

from __future__ import annotations

from dataclasses import dataclass

import paddle

from .task_aligned import pairwise_iou

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


@dataclass
class Matches:
    """Per box: object_index (L,) int64, the object it overlaps most (0 if there is none at all); labels (L,) int32:
    `POSITIVE`, `NEGATIVE` or `IGNORED`.
    """

    object_index: paddle.Tensor
    labels: paddle.Tensor


@paddle.no_grad()
def match_boxes(
    boxes: paddle.Tensor,
    object_boxes: paddle.Tensor,
    positive_iou: float,
    negative_iou: float,
    *,
    keep_best: bool = False,
) -> Matches:
    """Boxes (L, 4) against objects (n, 4): positive from `positive_iou` up, negative below `negative_iou`.

    keep_best: the boxes that overlap an object most are positive however little that is, so that no object goes
    without (Ren et al., "Faster R-CNN", section 3.1.2, condition i).
    """
    count = boxes.shape[0]
    if object_boxes.shape[0] == 0:
        return Matches(paddle.zeros([count], dtype="int64"), paddle.full([count], NEGATIVE, dtype="int32"))
    iou = pairwise_iou(object_boxes.unsqueeze(0), boxes.unsqueeze(0))[0]  # (n, L)
    best_iou = iou.max(axis=0)
    positive = best_iou >= positive_iou
    if keep_best:
        best_of_object = iou.max(axis=1, keepdim=True)
        positive = positive | ((iou == best_of_object) & (iou > 0)).any(axis=0)
    labels = paddle.full([count], IGNORED, dtype="int32")
    labels = paddle.where(best_iou < negative_iou, paddle.full_like(labels, NEGATIVE), labels)
    labels = paddle.where(positive, paddle.full_like(labels, POSITIVE), labels)
    return Matches(iou.argmax(axis=0), labels)


@dataclass(frozen=True)
class BalancedSampler:
    """At most `count` boxes of an image, at most `positive_fraction` of them positive; negatives fill up the rest.

    random: choose by chance; otherwise the first of each kind are taken, for comparisons that must not depend on it.
    """

    count: int
    positive_fraction: float
    random: bool = True

    @paddle.no_grad()
    def __call__(self, labels: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        """labels (L,) -> indices of the chosen positives and of the chosen negatives, int64."""
        positive = self._choose(labels == POSITIVE, int(self.count * self.positive_fraction))
        negative = self._choose(labels == NEGATIVE, self.count - len(positive))
        return positive, negative

    def _choose(self, candidate: paddle.Tensor, limit: int) -> paddle.Tensor:
        indices = paddle.nonzero(candidate).flatten()
        if self.random and len(indices) > limit:
            return paddle.gather(indices, paddle.randperm(len(indices))[:limit])
        return indices[:limit]
