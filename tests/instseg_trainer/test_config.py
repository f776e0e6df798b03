"""Configuration files and overrides."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from instseg_trainer.config import ParameterGroupConfig, configs_folder, find_config, load_config, to_yaml
from instseg_trainer.errors import ConfigError


@pytest.mark.parametrize(
    "path", sorted((configs_folder() / "instance_segmentation").glob("*.yaml")), ids=lambda p: p.stem
)
def test_shipped_configurations(path: Path) -> None:
    config = load_config(path.stem)
    assert config.Global.model == path.stem
    assert config.Recipe.augmentation


# Batch size, learning rate, optimizer, weight decay, gradient clip, schedule, start of the warm-up, decay of the
# averages (None: not averaged), as the reference's and PaddleX's configurations have them.
RECIPES = {
    "PP-YOLOE_seg-S": (8, 1e-3, "momentum", 5e-4, 0.0, "cosine", 0.0, 0.9998),
    "Mask-RT-DETR-S": (2, 5e-5, "adamw", 1e-4, 0.1, "constant", 0.001, 0.9999),
    "Mask-RT-DETR-L": (2, 1e-4, "adamw", 1e-4, 0.1, "constant", 0.001, 0.9999),
    "MaskRCNN-ResNet50": (2, 0.01, "momentum", 1e-4, 0.0, "piecewise", 0.001, None),
    "MaskRCNN-ResNeXt101-vd-FPN": (2, 0.01, "momentum", 1e-4, 0.0, "piecewise", 0.1, None),
    "Cascade-MaskRCNN-ResNet50-FPN": (1, 0.01, "momentum", 1e-4, 35.0, "piecewise", 0.001, None),
    "SOLOv2": (2, 0.01, "momentum", 1e-4, 0.0, "piecewise", 0.0, None),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(name: str) -> None:
    config = load_config(name)
    train, recipe = config.Train, config.Recipe
    assert (
        train.batch_size,
        train.learning_rate,
        recipe.optimizer.type,
        recipe.optimizer.weight_decay,
        recipe.optimizer.gradient_clip,
        recipe.schedule.type,
        recipe.schedule.warmup_start_factor,
        recipe.ema_decay if recipe.use_ema else None,
    ) == RECIPES[name]
    assert (train.epochs_iters, train.warmup_steps, recipe.image_size) == (40, 100, None)


def test_a_file_over_its_base(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "family.yaml").write_text("Train: {batch_size: 5, learning_rate: 0.5}\nGlobal: {model: family}\n")
    (tmp_path / "middle.yaml").write_text("base: family.yaml\nTrain: {learning_rate: 0.25}\n")
    (tmp_path / "sub" / "own.yaml").write_text("base: ../middle.yaml\nGlobal: {model: own}\n")
    config = load_config(str(tmp_path / "sub" / "own.yaml"))
    assert (config.Train.batch_size, config.Train.learning_rate, config.Global.model) == (5, 0.25, "own")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("base: missing.yaml", r"missing\.yaml: cannot be read"),
        ("base: [a]", "base: expected the name of a file"),
        ("base: own.yaml", "base files lead back to"),
        ("Train: {epochs: 3}", "unknown key Train.epochs"),
    ],
)
def test_wrong_bases(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_config(str(tmp_path / "own.yaml"))


def test_parameter_groups_are_read_and_written(tmp_path: Path) -> None:
    group = "{params: [^backbone], learning_rate_factor: 1e-1}"
    config = load_config("SOLOv2", [f"Recipe.optimizer.parameter_groups=[{group}]"])
    assert config.Recipe.optimizer.parameter_groups == [ParameterGroupConfig(["^backbone"], 0.1, None)]
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_config(str(tmp_path / "config.yaml")) == config


def test_found_by_the_last_part_of_a_path() -> None:
    assert find_config("paddlex/configs/instance_segmentation/PP-YOLOE_seg-S.yaml") == find_config("PP-YOLOE_seg-S")


def test_overrides_and_types() -> None:
    config = load_config(
        "PP-YOLOE_seg-S",
        [
            "Train.batch_size=4",
            "Train.learning_rate=1e-3",
            "Global.dataset_dir=some/where",
            "Recipe.image_size=[320, 416]",
        ],
    )
    assert (config.Train.batch_size, config.Train.learning_rate) == (4, 0.001)
    assert config.Global.dataset_dir == "some/where"
    assert config.Recipe.image_size == [320, 416]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    config = load_config("PP-YOLOE_seg-N", ["Train.batch_size=3"])
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_config(str(tmp_path / "config.yaml")) == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("Train.batchsize=4", r"unknown key Train\.batchsize; did you mean Train\.batch_size\?"),
        ("Training.batch_size=4", r"unknown key Training; did you mean Train\?"),
        ("Train.batch_size=four", r"Train\.batch_size: expected int, found 'four'"),
        ("Train.batch_size=true", r"Train\.batch_size: expected int, found True"),
        ("Train.batch_size=[1", r"not valid YAML"),
        ("Train=4", r"Train is a section"),
        ("Train.batch_size", r"expected KEY=VALUE"),
        ("Recipe.image_size=[a, 2]", r"Recipe\.image_size\[\]: expected int, found 'a'"),
        ("Recipe.schedule.type=linear", r"expected cosine or piecewise or constant, found 'linear'"),
        ("Recipe.ema_decay_type=slow", r"expected threshold or exponential or normal"),
        ("Recipe.freeze=backbone", r"Recipe\.freeze: expected list"),
        ("Recipe.optimizer.parameter_groups=[{lr: 1}]", r"unknown key Recipe\.optimizer\.parameter_groups\[\]\.lr"),
        ("Recipe.optimizer.parameter_groups=[{param: [a]}]", r"did you mean .*\.params\?"),
        ("Recipe.optimizer.parameter_groups=[{weight_decay: 0}]", r"params is missing"),
        ("Recipe.optimizer.parameter_groups=[a]", r"expected ParameterGroupConfig, found 'a'"),
        ("Train.num_classes=1.5", r"^override 'Train\.num_classes=1\.5': Train\.num_classes: expected int or null"),
    ],
)
def test_wrong_overrides(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("PP-YOLOE_seg-S", [override])


def test_unknown_name_suggests() -> None:
    with pytest.raises(ConfigError, match=r"did you mean PP-YOLOE_seg-S\?"):
        load_config("PP-YOLOE-seg-S")


def test_wrong_files(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    (tmp_path / "key.yaml").write_text(yaml.safe_dump({"Train": {"epoch_iters": 3}}))
    for name, message in (
        ("list", "expected keys and values"),
        ("broken", "not valid YAML"),
        ("key", "did you mean Train.epochs_iters"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(str(tmp_path / f"{name}.yaml"))


def test_a_file_of_paddlex_is_over_the_recipe_of_its_model(tmp_path: Path) -> None:
    """PaddleX's files have no recipe, no base, values of their own, and an address for the weights."""
    address = "https://paddle-model-ecology.bj.bcebos.com/paddlex/official_pretrained_model/x.pdparams"
    content = {
        "Global": {"model": "Mask-RT-DETR-L", "mode": "evaluate", "device": "gpu:0,1,2,3", "output": "out"},
        "Train": {"num_classes": 2, "epochs_iters": 7, "pretrain_weight_path": address},
        "Evaluate": {"weight_path": "out/best_model/best_model.pdparams", "log_interval": 3},
        "Export": {"weight_path": address},
        "Predict": {
            "batch_size": 4,
            "model_dir": "inference",
            "input": "a.png",
            "kernel_option": {"run_mode": "paddle"},
        },
    }
    (tmp_path / "any.yaml").write_text(yaml.safe_dump(content))
    config, shipped = load_config(str(tmp_path / "any.yaml")), load_config("Mask-RT-DETR-L")
    assert config.Recipe == shipped.Recipe
    assert (config.Train.epochs_iters, config.Train.learning_rate) == (7, shipped.Train.learning_rate)
    assert (config.Global.mode, config.Global.device, config.Export.weight_path) == ("evaluate", "gpu:0,1,2,3", address)
    assert (config.Predict.batch_size, config.Predict.input, config.Evaluate.log_interval) == (4, "a.png", 3)


def test_overrides_as_paddlex_writes_them() -> None:
    config = load_config("SOLOv2", ["Train.pretrain_weight_path=None", "Predict.model_dir=None"])
    assert (config.Train.pretrain_weight_path, config.Predict.model_dir) == (None, None)
    config = load_config("SOLOv2", ["Predict.input=[a.png, b=c.png]"])
    assert config.Predict.input == ["a.png", "b=c.png"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("Global.mode=test", "Global.mode: expected check_dataset or train or evaluate or export or predict"),
        ("Predict.kernel_option.runmode=paddle", r"did you mean Predict\.kernel_option\.run_mode\?"),
        ("Predict.kernel_option.run_mode=mkldnn", "expected paddle or trt_fp32 or trt_fp16, found 'mkldnn'"),
        ("Predict.kernel_option=paddle", r"Predict\.kernel_option is a section"),
        ("Predict.batch_size=two", r"Predict\.batch_size: expected int, found 'two'"),
        ("Predict.input=3", r"Predict\.input: expected str or list or null, found 3"),
        ("Export.weights=a", r"did you mean Export\.weight_path\?"),
        ("Export.weight_path=null", r"Export\.weight_path: expected str, found None"),
        ("Evaluate.log_interval=1.5", r"Evaluate\.log_interval: expected int, found 1\.5"),
    ],
)
def test_wrong_values_of_the_modes(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("SOLOv2", [override])
