"""What training, evaluation and export ask of every model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import paddle
from paddle import nn

from ..input_spec import InputSpec
from ..targets import Targets
from .detections import Detections


class InstanceSegmentationModel(nn.Layer, ABC):
    """One of the models, with its loss and its prediction.

    decode: a dataclass of the thresholds of the prediction; a bundle's `decode` section holds the same values.
    mask_stride: input pixels per row and column of the target masks that `loss` takes.
    needs_segments: whether `loss` takes the objects' shapes themselves (`Targets.segments`).
    """

    family: ClassVar[str]
    mask_stride: ClassVar[int] = 1
    needs_segments: ClassVar[bool] = False
    input_spec: InputSpec
    decode: Any

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """How many classes its detections may have."""

    @abstractmethod
    def loss(self, images: paddle.Tensor, targets: Targets) -> dict[str, paddle.Tensor]:
        """images (B, 3, H, W) float32, normalised -> scalars: `loss`, the weighted sum to train on, and its parts."""

    @abstractmethod
    def predict(
        self,
        images: paddle.Tensor,
        original_sizes: Sequence[tuple[int, int]],
        *,
        input_sizes: Sequence[tuple[int, int]] | None = None,
        score_threshold: float | None = None,
    ) -> list[Detections]:
        """One `Detections` per image.

        original_sizes: (height, width) of each image file; input_sizes: (height, width) of each resized image inside
        the padded input, None where nothing was padded. score_threshold: instead of the one in `decode`.
        """

    def fuse(self) -> None:
        """Folds re-parameterisable blocks, for export: the model can no longer be trained or saved by name."""


def check_stretched(images: paddle.Tensor, input_sizes: Sequence[tuple[int, int]] | None) -> None:
    """Raises `ValueError` if one of `input_sizes` (see `predict`) is not that of the images: nothing is padded by a
    model that stretches them.
    """
    if input_sizes is not None and any(tuple(size) != tuple(images.shape[2:]) for size in input_sizes):
        raise ValueError(f"input sizes {list(input_sizes)}: this model stretches images to {images.shape[2:]}")
