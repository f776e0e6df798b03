"""Settings that make this project and PaddleDetection train the same, and the turns of the two."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instseg_rt.benchmark.errors import BenchmarkError
from turns.paddledetection import Task
from turns.protocol import Iteration, PeerError, TrainingProcess
from turns.repeated_images import repeat_images

if TYPE_CHECKING:
    from instseg_trainer.config import Config
    from instseg_trainer.input_spec import InputSpec

CONFIGS = {
    "Cascade-MaskRCNN-ResNet50-FPN": "cascade_rcnn/cascade_mask_rcnn_r50_fpn_1x_coco",
    "Cascade-MaskRCNN-ResNet50-vd-SSLDv2-FPN": "cascade_rcnn/cascade_mask_rcnn_r50_vd_fpn_ssld_2x_coco",
    "Mask-RT-DETR-H": "mask_rtdetr/mask_rtdetr_hgnetv2_h_6x_coco",
    "Mask-RT-DETR-L": "mask_rtdetr/mask_rtdetr_hgnetv2_l_6x_coco",
    "Mask-RT-DETR-M": "mask_rtdetr/mask_rtdetr_hgnetv2_m_6x_coco",
    "Mask-RT-DETR-S": "mask_rtdetr/mask_rtdetr_hgnetv2_s_6x_coco",
    "Mask-RT-DETR-X": "mask_rtdetr/mask_rtdetr_hgnetv2_x_6x_coco",
    "MaskRCNN-ResNeXt101-vd-FPN": "mask_rcnn/mask_rcnn_x101_vd_64x4d_fpn_1x_coco",
    "MaskRCNN-ResNet101-FPN": "mask_rcnn/mask_rcnn_r101_fpn_1x_coco",
    "MaskRCNN-ResNet101-vd-FPN": "mask_rcnn/mask_rcnn_r101_vd_fpn_1x_coco",
    "MaskRCNN-ResNet50": "mask_rcnn/mask_rcnn_r50_1x_coco",
    "MaskRCNN-ResNet50-FPN": "mask_rcnn/mask_rcnn_r50_fpn_1x_coco",
    "MaskRCNN-ResNet50-vd-FPN": "mask_rcnn/mask_rcnn_r50_vd_fpn_1x_coco",
    "PP-YOLOE_seg-S": "ppyoloe_seg/ppyoloe_seg_s_80e_coco",
    "SOLOv2": "solov2/solov2_r50_fpn_1x_coco",
}
"""Of each model, under PaddleDetection's `configs`."""

_RESIZES = ("Resize", "RandomResize", "BatchRandomResize")
_INTERPOLATIONS = {"linear": 1, "cubic": 2}
_AHEAD = 8
"""Batches that either side may prepare beyond what is trained, for each data worker."""


@dataclass(frozen=True)
class Comparison:
    """iterations: timed ones of each side, divided into `turns`; warm_up: ones of each before. logs: a folder."""

    config: str
    overrides: tuple[str, ...]
    dataset: Path
    repository: Path
    python: str
    threads: int | None
    warm_up: int
    iterations: int
    turns: int
    logs: Path


@dataclass(frozen=True)
class TimedTurns:
    """The timed iterations of each side, turn by turn; images of an iteration."""

    ours: list[list[Iteration]]
    theirs: list[list[Iteration]]
    images: int


def compare(comparison: Comparison, folder: Path) -> TimedTurns:
    """Trains both in turns; the one that begins changes. Raises BenchmarkError."""
    from instseg_trainer.config import load_config

    given = load_config(comparison.config, [f"Global.dataset_dir={comparison.dataset}", *comparison.overrides])
    _check_comparable(given, comparison)
    train, recipe = given.Train, given.Recipe
    ahead = _AHEAD * max(recipe.workers, 1)
    images = train.batch_size * (comparison.warm_up + comparison.iterations + ahead)
    dataset = repeat_images(comparison.dataset, images, folder / "repeated")
    # Both resize every image to the model's input.
    steps = [step for step in recipe.augmentation if not any(name in _RESIZES for name in step)]
    overrides = [
        *comparison.overrides,
        f"Global.dataset_dir={dataset}",
        f"Global.output={folder / 'output'}",
        f"Recipe.augmentation={json.dumps(steps)}",
    ]
    task = _task(given, comparison, dataset)
    variables = _environment(comparison.threads)
    own_variables = variables | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    own_task = {"config": _absolute(comparison.config), "overrides": overrides}
    try:
        with (
            TrainingProcess(
                "this project", sys.executable, "turns.ours", own_task, own_variables, _log(comparison, "ours")
            ) as ours,
            TrainingProcess(
                "PaddleDetection",
                comparison.python,
                "turns.paddledetection",
                asdict(task),
                variables,
                _log(comparison, "paddledetection"),
            ) as theirs,
        ):
            return _take_turns(ours, theirs, comparison, train.batch_size)
    except PeerError as error:
        raise BenchmarkError(str(error)) from error


def _take_turns(ours: TrainingProcess, theirs: TrainingProcess, comparison: Comparison, images: int) -> TimedTurns:
    for side in (ours, theirs):
        side.turn(max(comparison.warm_up, 1))
    taken: dict[str, list[list[Iteration]]] = {ours.name: [], theirs.name: []}
    shares, rest = divmod(comparison.iterations, comparison.turns)
    for number in range(comparison.turns):
        pair = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        for side in pair:
            taken[side.name].append(side.turn(shares + (number < rest)))
    return TimedTurns(taken[ours.name], taken[theirs.name], images)


def _check_comparable(config: Config, comparison: Comparison) -> None:
    name = config.Global.model
    if name not in CONFIGS:
        raise BenchmarkError(f"{name}: PaddleDetection has no such model: leave --compare out")
    if not (comparison.repository / "ppdet").is_dir():
        raise BenchmarkError(f"{comparison.repository}: --compare expects PaddleDetection's repository, with ppdet/")
    for key, value, expected in (
        ("Recipe.accumulate", config.Recipe.accumulate, 1),
        ("Recipe.amp", config.Recipe.amp, "none"),
    ):
        if value != expected:
            raise BenchmarkError(f"{key}={value}: compared with PaddleDetection, it must be {expected}")


def _task(config: Config, comparison: Comparison, dataset: Path) -> Task:
    spec = _input_spec(config)
    weights = config.Train.pretrain_weight_path
    if weights:
        from instseg_rt.official_weights import find_weights

        weights = str(Path(find_weights(weights, config.Global.model, print)).resolve())
    file = comparison.repository / "configs" / f"{CONFIGS[config.Global.model]}.yml"
    if not file.is_file():
        raise BenchmarkError(f"{file}: there is no such file in this version of PaddleDetection")
    categories = json.loads((dataset / "annotations/instance_train.json").read_text(encoding="utf-8"))["categories"]
    return Task(
        folder=str(comparison.repository),
        config=str(file),
        dataset=str(dataset),
        num_classes=len(categories),
        batch_size=config.Train.batch_size,
        workers=config.Recipe.workers,
        image_size=[spec.height, spec.width],
        keep_ratio=spec.resize == "keep_ratio",
        interpolation=_INTERPOLATIONS[spec.interpolation],
        use_gpu=config.Global.device.startswith("gpu"),
        weights=weights,
    )


def _input_spec(config: Config) -> InputSpec:
    """Of a model with one class: its input does not depend on them."""
    from instseg_trainer.engine.inputs import sized_input
    from instseg_trainer.models import build_model

    return sized_input(build_model(config.Global.model, 1).input_spec, config.Recipe.image_size)


def _environment(threads: int | None) -> dict[str, str]:
    """Of both: the same number of threads, and the matrix library's settings that this project's training makes."""
    before = dict(os.environ)
    from instseg_trainer.runtime import prepare_cpu

    prepare_cpu(threads)
    variables: Mapping[str, Any] = dict(os.environ)
    os.environ.clear()
    os.environ.update(before)
    return {name: value for name, value in variables.items() if name != "PYTHONPATH"}


def _absolute(config: str) -> str:
    """A file's name for another working folder; the name of a shipped configuration stays."""
    return str(Path(config).resolve()) if Path(config).is_file() else config


def _log(comparison: Comparison, side: str) -> Path:
    return comparison.logs / f"training_speed_{side}.log"
