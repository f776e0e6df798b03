"""Every model goes through the real engine: data, loss, backward pass, optimizer step."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.config import load_config
from instseg_trainer.engine.trainer import Trainer
from instseg_trainer.models import model_names
from tests.long_tests import on_request

# As small as the family allows. Shape and parameters of the loss's targets do not depend on it.
SIZES = {"Mask-RT-DETR": (128, 128), "PP-YOLOE": (128, 128), "SOLOv2": (128, 213), "MaskRCNN": (128, 213)}


def input_size(name: str) -> tuple[int, int]:
    return next(size for part, size in SIZES.items() if part in name)


# One of every kind that is computed in seconds; the others on request.
ALWAYS = (
    "PP-YOLOE_seg-S",
    "PP-YOLOE_seg-N",
    "SOLOv2",
    "Mask-RT-DETR-S",
    "MaskRCNN-ResNet50-FPN",
)
MODELS = [name if name in ALWAYS else pytest.param(name, marks=on_request) for name in model_names()]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_step_lowers_the_loss(name: str, shared: Path, tmp_path: Path) -> None:
    config = load_config(
        name,
        [
            f"Global.dataset_dir={shared / 'datasets' / 'fruits_nuts'}",
            f"Global.output={tmp_path}",
            "Train.batch_size=2",
            "Train.warmup_steps=0",
            "Train.learning_rate=1e-4",
            "Recipe.workers=0",
            f"Recipe.image_size={list(input_size(name))}",
            "Recipe.augmentation=[]",
            # From random weights: statistics that were never taken would let the numbers of deep backbones grow.
            "Recipe.unfreeze=['^backbone']",
            "Recipe.optimizer.gradient_clip=1.0",
            "Recipe.schedule.type=constant",
        ],
    )
    trainer = Trainer(config)
    trainer.model.train()
    batch = next(iter(trainer.loader.epoch(0)))
    losses = []
    for _ in range(2):
        # The same iteration again draws the same noise, samples and points: only the weights have changed.
        trainer.state.iteration = 0
        parts = trainer._step(batch)
        assert all(math.isfinite(value) for value in parts.values()), parts
        losses.append(parts["loss"])
    assert losses[1] < losses[0], losses
