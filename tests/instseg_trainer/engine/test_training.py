"""The training loop: it learns, and a killed training goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from instseg_export.labels import read_labels
from instseg_rt.scenes import CLASS_NAMES
from instseg_rt.scenes.dataset import make_dataset

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.config import load_config
from instseg_trainer.engine.checkpoint import (
    TrainingState,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from instseg_trainer.engine.trainer import Trainer
from instseg_trainer.errors import CheckpointError, ConfigError
from instseg_trainer.weights import read_pdparams

_COMMAND = """
import argparse, sys
from instseg_trainer.cli import add_train_arguments, run_train
parser = argparse.ArgumentParser()
add_train_arguments(parser)
sys.exit(run_train(parser.parse_args()))
"""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    make_dataset(folder, 14, seed=3, height=96, width=96, val_fraction=0.2, workers=1)
    return folder


def overrides(scenes: Path, output: Path) -> list[str]:
    return [
        f"Global.dataset_dir={scenes}",
        f"Global.output={output}",
        "Recipe.image_size=[64, 64]",
        "Recipe.workers=0",
        "Recipe.checkpoint_interval=2",
        "Recipe.bundle=false",
        "Recipe.static_graph=false",
        "Train.batch_size=2",
        "Train.epochs_iters=3",
        "Train.warmup_steps=3",
        "Train.eval_interval=0",
    ]


def command(settings: list[str]) -> list[str]:
    return [sys.executable, "-c", _COMMAND, "-c", "PP-YOLOE_seg-N", "--threads", "1", "-o", *settings]


def losses(output: Path) -> list[float]:
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if "loss" in record]


@pytest.mark.slow
def test_killed_and_resumed_ends_like_an_undisturbed_training(scenes: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    # Processes of their own, all alike: the number of threads decides in which order sums are taken.
    subprocess.run(command(overrides(scenes, whole)), check=True, capture_output=True)
    result = json.loads((whole / "train_result.json").read_text())
    iterations = result["iterations"]
    assert iterations >= 12
    assert len(losses(whole)) == iterations
    labels = read_labels(whole / "categories.json")  # where an export of this folder finds its labels
    assert labels.names == tuple(CLASS_NAMES)
    assert labels.category_ids == tuple(range(1, len(CLASS_NAMES) + 1))

    broken = tmp_path / "broken"
    process = subprocess.Popen(command(overrides(scenes, broken)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    try:
        # Between two checkpoints, and not at the end of an epoch.
        while not (broken / "metrics.jsonl").is_file() or len(losses_so_far(broken)) < 7:
            assert process.poll() is None, "the training ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert json.loads((broken / "train_result.json").read_text())["done_flag"] is False
    done = load_checkpoint(broken).state.iteration
    assert 4 <= done < iterations

    subprocess.run(
        command([*overrides(scenes, broken), f"Train.resume_path={broken}"]), check=True, capture_output=True
    )
    resumed = json.loads((broken / "train_result.json").read_text())
    assert (resumed["iterations"], resumed["done_flag"]) == (iterations, True)
    assert resumed["models"] == result["models"]
    np.testing.assert_allclose(losses(broken), losses(whole), rtol=1e-6)
    expected = read_pdparams(result["best_weights"])
    for name, array in read_pdparams(resumed["best_weights"]).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-7, err_msg=name)


def losses_so_far(output: Path) -> list[str]:
    return [line for line in (output / "metrics.jsonl").read_text().splitlines() if line.endswith("}")]


@pytest.mark.slow
def test_resuming_with_another_recipe_is_refused(scenes: Path, tmp_path: Path) -> None:
    settings = [*overrides(scenes, tmp_path), "Train.epochs_iters=1"]
    Trainer(load_config("PP-YOLOE_seg-N", settings)).run()
    changed = [*settings, f"Train.resume_path={tmp_path}", "Train.learning_rate=0.5"]
    with pytest.raises(CheckpointError, match="another model, data set, batch size or recipe"):
        Trainer(load_config("PP-YOLOE_seg-N", changed)).run()


def test_resuming_from_nothing(scenes: Path, tmp_path: Path) -> None:
    config = load_config("PP-YOLOE_seg-N", [*overrides(scenes, tmp_path), f"Train.resume_path={tmp_path}"])
    with pytest.raises(CheckpointError, match="nothing to resume from"):
        Trainer(config).run()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("Global.dataset_dir=null", r"Global\.dataset_dir: expected the data set's folder"),
        ("Global.dataset_dir=nowhere", r"Global\.dataset_dir: there is no folder nowhere"),
        ("Train.epochs_iters=0", r"Train\.epochs_iters: expected a number from 1, found 0"),
        ("Train.batch_size=0", r"Train\.batch_size: expected a number from 1, found 0"),
        (f"Global.output={__file__}", r"Global\.output: .*test_training\.py is a file, expected a folder"),
        ("Train.num_classes=3", r"Train\.num_classes: 3, but .*instance_train\.json has 5 categories"),
        ("Recipe.image_size=[100, 64]", r"each a multiple of 32, found \[100, 64\]"),
        ("Recipe.optimizer.type=sgd", r"expected momentum or adamw, found 'sgd'"),
    ],
)
def test_settings_that_do_not_fit(scenes: Path, tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Trainer(load_config("PP-YOLOE_seg-N", [*overrides(scenes, tmp_path), override]))


def test_an_unfinished_checkpoint_is_not_seen(tmp_path: Path) -> None:
    state = TrainingState(4, 4, 0.1, 1, 2, "x")
    tensors = {"a": paddle.ones([2])}
    first = save_checkpoint(tmp_path, tensors, tensors, tensors, state)
    unfinished = tmp_path / "checkpoints" / ".iter_00000006.1.tmp"
    unfinished.mkdir()
    (unfinished / "model.pdparams").write_bytes(b"half")
    assert latest_checkpoint(tmp_path) == first
    assert load_checkpoint(tmp_path).state == state
    state.iteration = 8
    second = save_checkpoint(tmp_path, tensors, tensors, tensors, state)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == [second.name]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    tensors = {"a": paddle.ones([2])}
    folder = save_checkpoint(tmp_path, tensors, tensors, tensors, TrainingState(4, 4, 0.1, 1, 2, "x"))
    (folder / "model.pdstates").write_text("iteration: [")
    with pytest.raises(CheckpointError, match=r"model\.pdstates: damaged"):
        load_checkpoint(tmp_path)
