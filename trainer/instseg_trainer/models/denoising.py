"""Denoising queries: objects with false classes and shifted boxes, which the decoder learns to put right (Li et al.,
"DN-DETR", CVPR 2022, section 4). They exist in training only.
"""

from __future__ import annotations

from dataclasses import dataclass

import paddle

from ..losses.point_sampling import Uniform
from ..losses.query_targets import Matches, QueryTargets


@dataclass(frozen=True)
class DenoisingSettings:
    """queries: per image, about; 0: none. label_noise: half of this share of the classes is drawn anew. box_noise: a
    centre moves by up to this part of half the box's side, a side grows or shrinks by up to this part of itself.
    """

    queries: int = 100
    label_noise: float = 0.5
    box_noise: float = 1.0


@dataclass
class DenoisingQueries:
    """D = groups * group_size queries per image: every group shows each object once, padded to the image with most.

    class_ids (B, D) int64, num_classes where padded; boxes (B, D, 4) cx, cy, w, h, noisy, may leave 0..1.
    matches: the queries of real objects with those objects.
    """

    class_ids: paddle.Tensor
    boxes: paddle.Tensor
    groups: int
    group_size: int
    matches: Matches

    @property
    def count(self) -> int:
        return self.groups * self.group_size

    def attention_bias(self, queries: int) -> paddle.Tensor:
        """(D + queries, D + queries): -inf where a query must not look, else 0.

        Denoising queries know the objects: no one but their own group may see them. They see the others.
        """
        own = paddle.arange(self.count) // self.group_size
        group = paddle.concat([own, paddle.full([queries], -1, dtype=own.dtype)])
        hidden = (group.unsqueeze(0) >= 0) & (group.unsqueeze(0) != group.unsqueeze(1))
        return paddle.where(hidden, paddle.full([], float("-inf")), paddle.zeros([]))


@paddle.no_grad()
def make_denoising_queries(
    targets: QueryTargets, num_classes: int, settings: DenoisingSettings, uniform: Uniform
) -> DenoisingQueries | None:
    """None where there is no object or none is asked for."""
    group_size = max(targets.counts)
    if settings.queries <= 0 or group_size == 0:
        return None
    groups = max(1, settings.queries // group_size)
    batch = len(targets.counts)
    source, pairs = [], []
    for start, count in zip(targets.starts(), targets.counts, strict=True):
        # The last row, appended below, stands for padding.
        source.append([start + i if i < count else targets.total for i in range(group_size)])
        pairs.append([(group * group_size + i, start + i) for group in range(groups) for i in range(count)])
    index = paddle.to_tensor(source, dtype="int64").tile([1, groups]).flatten()
    padding = paddle.full([1], num_classes, dtype="int64")
    class_ids = paddle.gather(paddle.concat([targets.class_ids, padding]), index)
    boxes = paddle.gather(paddle.concat([targets.boxes, paddle.zeros([1, 4])]), index)
    class_ids = _with_label_noise(class_ids, num_classes, settings.label_noise, uniform)
    boxes = _with_box_noise(boxes, settings.box_noise, uniform)
    return DenoisingQueries(
        class_ids.reshape([batch, groups * group_size]),
        boxes.reshape([batch, groups * group_size, 4]),
        groups,
        group_size,
        Matches.from_lists(pairs),
    )


def _with_label_noise(class_ids: paddle.Tensor, num_classes: int, noise: float, uniform: Uniform) -> paddle.Tensor:
    """Draws about noise / 2 of the real class ids (N,) anew; the new one may be the old one."""
    if noise <= 0:
        return class_ids
    chosen = paddle.nonzero((uniform(class_ids.shape) < noise * 0.5) & (class_ids < num_classes)).flatten()
    if not chosen.shape[0]:
        return class_ids
    drawn = (uniform([int(chosen.shape[0])]) * num_classes).floor().astype("int64")
    # Rounding can take the product up to num_classes itself.
    return paddle.scatter(class_ids, chosen, drawn.clip(max=num_classes - 1))


def _with_box_noise(boxes: paddle.Tensor, noise: float, uniform: Uniform) -> paddle.Tensor:
    """(N, 4) cx, cy, w, h."""
    if noise <= 0:
        return boxes
    size = boxes[:, 2:]
    reach = paddle.concat([size * 0.5, size], axis=-1) * noise
    return boxes + reach * (uniform(boxes.shape) * 2.0 - 1.0)
