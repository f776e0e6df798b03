"""Small stand-ins for the model families, to test the engine's sides that PP-YOLOE_seg does not use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from instseg_trainer.config import Config, load_config
from instseg_trainer.input_spec import IMAGENET_NORMALIZATION, InputSpec
from instseg_trainer.models.base import InstanceSegmentationModel
from instseg_trainer.models.detections import Detections
from instseg_trainer.targets import Targets


class FakeRegionModel(InstanceSegmentationModel):
    """Keeps the ratio, pads to 32, takes shapes instead of masks, and has a frozen stem and norm in its backbone.

    It learns the share of each image that its objects cover, under noise, and keeps what `loss` and `predict` were
    given.
    """

    family = "fake"
    needs_segments = True

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            ("stem", nn.Conv2D(3, 4, 3, stride=4, padding=1)),
            ("norm", nn.BatchNorm2D(4, use_global_stats=True)),
            ("deep", nn.Conv2D(4, 8, 3, stride=4, padding=1)),
        )
        for parameter in (*self.backbone.stem.parameters(), *self.backbone.norm.parameters()):
            parameter.stop_gradient = True
        self.backbone.deep.weight.optimize_attr["learning_rate"] = 0.1
        self.norm = nn.BatchNorm2D(8)
        self.head = nn.Linear(8, 1)
        self.input_spec = InputSpec(
            96, 160, "keep_ratio", normalization=IMAGENET_NORMALIZATION, normalize_first=True, pad_stride=32
        )
        self.given: list[tuple[list[int], Targets]] = []
        self.predicted: list[tuple[list[int], list[tuple[int, int]], list[tuple[int, int]]]] = []
        self._num_classes = num_classes

    @property
    def num_classes(self) -> int:
        return self._num_classes

    def loss(self, images: paddle.Tensor, targets: Targets) -> dict[str, paddle.Tensor]:
        self.given.append((list(images.shape), targets))
        features = self.norm(self.backbone(images)).mean([2, 3])
        area = images.shape[2] * images.shape[3]
        boxes = targets.boxes
        covered = ((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])).sum(-1) / area
        loss = (self.head(features * paddle.rand(features.shape))[:, 0] - covered).square().mean()
        return {"loss": loss, "loss_area": loss.detach()}

    @paddle.no_grad()
    def predict(
        self,
        images: paddle.Tensor,
        original_sizes: Sequence[tuple[int, int]],
        *,
        input_sizes: Sequence[tuple[int, int]] | None = None,
        score_threshold: float | None = None,
    ) -> list[Detections]:
        """One detection per image: all of it, of class 0."""
        assert not self.training
        assert input_sizes is not None
        self.predicted.append((list(images.shape), list(original_sizes), list(input_sizes)))
        return [
            Detections(
                np.zeros(1, np.int64),
                np.ones(1, np.float32),
                np.array([[0, 0, width, height]], np.float32),
                np.ones((1, height, width), bool),
            )
            for height, width in original_sizes
        ]


def configuration(folder: Path, output: Path, *more: str) -> Config:
    """Of a short training of a fake model, which stands in for another."""
    return load_config(
        "MaskRCNN-ResNet50-FPN",
        [
            f"Global.dataset_dir={folder}",
            f"Global.output={output}",
            "Train.epochs_iters=3",
            "Train.warmup_steps=2",
            "Recipe.workers=0",
            "Recipe.augmentation=[{RandomResize: {target_size: [[64, 160], [96, 160]]}}]",
            *more,
        ],
    )
