"""One model per family learns four photos by heart, from random weights: losses, targets and prediction belong
together.

Each family's entry fits its model to this: a small input, norms and stages that the recipe freezes (it counts on
pretrained weights) set free, a learning rate for a few photos, and fewer boxes than a large input needs. Weights and
code are the full model's.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.config import load_config
from instseg_trainer.data import CocoDataset
from instseg_trainer.engine.evaluate import evaluate_model
from instseg_trainer.engine.trainer import Trainer
from instseg_trainer.models import build_model
from instseg_trainer.models.mask_rcnn import MaskRCNN
from instseg_trainer.weights import load_weights, read_pdparams
from tests.long_tests import with_long_ones

PHOTOS = ("10.jpg", "13.jpg", "17.jpg", "7.jpg")


@dataclass(frozen=True)
class Overfit:
    """What the training of a family's model needs: overrides of its recipe, the epochs of two iterations each, and
    what is changed about the model itself.
    """

    model: str
    epochs: int
    overrides: tuple[str, ...]
    shrink: Callable[[Any], None] = lambda _model: None


def fewer_boxes(model: MaskRCNN) -> None:
    """A photo has some ten objects: 48 of 300 proposals are learned from, not 512 of 1000, and 200 are looked at."""
    model.rpn_head.train_limits = dataclasses.replace(model.rpn_head.train_limits, top_n=300)
    assigner = model.bbox_head.assigner
    assigner.sampler = dataclasses.replace(assigner.sampler, count=48)
    model.decode = dataclasses.replace(model.decode, rpn_post_nms_top_n=200)


# Common to all: AdamW with a short warm-up, a cosine to nearly zero, no augmentation.
COMMON = (
    "Train.batch_size=2",
    "Train.warmup_steps=10",
    "Train.eval_interval=0",
    "Recipe.workers=0",
    "Recipe.checkpoint_interval=1000",
    "Recipe.augmentation=[]",
    "Recipe.optimizer.type=adamw",
    "Recipe.optimizer.weight_decay=0.0",
    "Recipe.optimizer.gradient_clip=20.0",
    "Recipe.schedule.type=cosine",
    "Recipe.schedule.cosine_epochs_factor=1.0",
    "Recipe.schedule.min_learning_rate_factor=0.02",
    "Recipe.use_ema=false",
)
LEARNING_BACKBONE = "Recipe.unfreeze=['^backbone']"

FAMILIES = {
    "ppyoloe_seg": Overfit("PP-YOLOE_seg-N", 80, ("Recipe.image_size=[128, 160]", "Train.learning_rate=0.002")),
    # Boxes are sampled by chance: 50 epochs, of 7 CPU seconds each, gave AP50 0.99 in one run and 0.86 in another.
    "mask_rcnn": Overfit(
        "MaskRCNN-ResNet50-FPN",
        80,
        ("Recipe.image_size=[160, 214]", LEARNING_BACKBONE, "Train.learning_rate=0.0005"),
        fewer_boxes,
    ),
}
ALWAYS = ("ppyoloe_seg",)


@pytest.fixture(scope="module")
def four_photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of four photos of fruits_nuts that are its train and its val part."""
    source = shared / "datasets" / "fruits_nuts"
    document = json.loads((source / "annotations" / "instance_train.json").read_text())
    document["images"] = [image for image in document["images"] if image["file_name"] in PHOTOS]
    kept = {image["id"] for image in document["images"]}
    assert len(kept) == len(PHOTOS)
    document["annotations"] = [item for item in document["annotations"] if item["image_id"] in kept]
    folder = tmp_path_factory.mktemp("four")
    (folder / "annotations").mkdir()
    for part in ("train", "val"):
        (folder / "annotations" / f"instance_{part}.json").write_text(json.dumps(document))
    (folder / "images").symlink_to(source / "images")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("family", with_long_ones(ALWAYS, [name for name in FAMILIES if name not in ALWAYS]))
def test_four_photos_are_learned_by_heart(family: str, four_photos: Path, tmp_path: Path) -> None:
    task = FAMILIES[family]
    settings = (f"Global.dataset_dir={four_photos}", f"Global.output={tmp_path}", f"Train.epochs_iters={task.epochs}")
    config = load_config(task.model, [*settings, *COMMON, "Recipe.bundle=false", *task.overrides])
    trainer = Trainer(config)
    task.shrink(trainer.model)
    result = trainer.run()
    dataset = CocoDataset(four_photos)
    model = build_model(task.model, len(dataset.categories))
    load_weights(model, read_pdparams(result.best_weights), source="the training")
    metrics, _ = evaluate_model(model, dataset, config.Recipe.image_size)
    assert metrics.mask.ap50 >= 0.9
    check_bundle(task.model, tmp_path, dataset, metrics.mask.ap)


def check_bundle(model: str, training: Path, dataset: CocoDataset, mask_ap: float) -> None:
    """The runtime finds what Paddle finds."""
    pytest.importorskip("paddle2onnx", reason="needs the [export] extra")
    from instseg_export.exporter import ExportOptions, export_bundle
    from instseg_trainer.engine.evaluate_bundle import evaluate_bundle

    bundle = export_bundle(ExportOptions(model, training, training / "learned.bundle")).bundle
    metrics, _ = evaluate_bundle(bundle, dataset)
    assert metrics.mask.ap == pytest.approx(mask_ap, abs=0.002)
