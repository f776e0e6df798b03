"""One model per family learns four photos by heart, from random weights: losses, targets and prediction belong
together.

A family's overrides fit its model to this: a small input, norms and stages that the recipe freezes (it counts on
pretrained weights) set free, a learning rate for a few photos. A model that is not in the registry is left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.config import load_config
from instseg_trainer.data import CocoDataset
from instseg_trainer.engine.evaluate import evaluate_model
from instseg_trainer.engine.trainer import Trainer
from instseg_trainer.models import build_model, model_names
from instseg_trainer.weights import load_weights, read_pdparams

PHOTOS = ("10.jpg", "13.jpg", "17.jpg", "7.jpg")


@dataclass(frozen=True)
class Overfit:
    """What the training of a family's model needs: overrides of its recipe, and the epochs of two iterations."""

    model: str
    epochs: int
    overrides: tuple[str, ...]


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

FAMILIES = {
    "ppyoloe_seg": Overfit("PP-YOLOE_seg-N", 80, ("Recipe.image_size=[128, 160]", "Train.learning_rate=0.002")),
    # "mask_rtdetr": Overfit("Mask-RT-DETR-S", …, ("Recipe.unfreeze=['^backbone']", …)),
    # "solov2": Overfit("SOLOv2", …),
    # "mask_rcnn": Overfit("MaskRCNN-ResNet50-FPN", …),
    # "cascade": Overfit("Cascade-MaskRCNN-ResNet50-FPN", …),
}


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
@pytest.mark.parametrize("family", FAMILIES)
def test_four_photos_are_learned_by_heart(family: str, four_photos: Path, tmp_path: Path) -> None:
    task = FAMILIES[family]
    if task.model not in model_names():
        pytest.skip(f"{task.model} is not in the registry")
    settings = (f"Global.dataset_dir={four_photos}", f"Global.output={tmp_path}", f"Train.epochs_iters={task.epochs}")
    config = load_config(task.model, [*settings, *COMMON, *task.overrides])
    result = Trainer(config).run()
    dataset = CocoDataset(four_photos)
    model = build_model(task.model, len(dataset.categories))
    load_weights(model, read_pdparams(result.best_weights), source="the training")
    metrics, _ = evaluate_model(model, dataset, config.Recipe.image_size)
    assert metrics.mask.ap50 >= 0.9
    assert metrics.mask.ap == pytest.approx(result.best_ap, abs=1e-6)
