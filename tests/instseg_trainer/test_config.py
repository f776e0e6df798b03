"""Configuration files and overrides."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from instseg_trainer.config import configs_folder, find_config, load_config, to_yaml
from instseg_trainer.errors import ConfigError


@pytest.mark.parametrize(
    "path", sorted((configs_folder() / "instance_segmentation").glob("*.yaml")), ids=lambda p: p.stem
)
def test_shipped_configurations(path: Path) -> None:
    config = load_config(path.stem)
    assert config.Global.model == path.stem
    assert config.Recipe.augmentation


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
        ("Train.num_classes=1.5", r"Train\.num_classes: expected int or null, found 1\.5"),
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
