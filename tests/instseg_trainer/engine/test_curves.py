"""Learning curves: a picture, and events for TensorBoard."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.engine.curves import draw_curves, read_curves, shown_parts, smoothed
from instseg_trainer.engine.trainer import Trainer
from instseg_trainer.errors import ConfigError

from .fake_models import FakeRegionModel, configuration


def test_curves_of_the_metrics(tmp_path: Path) -> None:
    lines = [
        {"iteration": 1, "epoch": 1, "learning_rate": 0.5, "data_s": 1, "compute_s": 2, "loss": 3.0, "loss_a": 1.0},
        {"iteration": 2, "epoch": 1, "learning_rate": 0.25, "data_s": 1, "compute_s": 2, "loss": 2.0, "loss_a": 0.5},
        {"iteration": 2, "epoch": 1, "mask_ap": 0.5, "box_ap": 0.25},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '{"iteration": 3, "lo')
    curves = read_curves(tmp_path / "metrics.jsonl")
    assert curves.losses == {"loss": [(1, 3.0), (2, 2.0)], "loss_a": [(1, 1.0), (2, 0.5)]}
    assert curves.learning_rate == [(1, 0.5), (2, 0.25)]
    assert curves.accuracy == {"mask_ap": [(2, 0.5)], "box_ap": [(2, 0.25)]}
    draw_curves(tmp_path, "a model")
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture.shape[0] > 500
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "metrics.jsonl"]


def test_a_training_without_a_step_has_an_empty_picture(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    draw_curves(tmp_path, "a model")
    assert (tmp_path / "curves.png").stat().st_size > 0


def test_of_many_parts_the_final_layers_are_shown() -> None:
    losses = {"loss": [(1, 99.0)]}
    for number, part in enumerate(("class", "bbox", "giou", "mask", "dice")):
        for suffix in ("", "_aux", "_dn", "_aux_dn"):
            losses[f"loss_{part}{suffix}"] = [(1, float(number))]
    assert shown_parts(losses) == ["loss_dice", "loss_mask", "loss_giou", "loss_bbox", "loss_class"]
    assert shown_parts({name: losses[name] for name in ("loss", "loss_class", "loss_dice_dn")}) == [
        "loss_dice_dn",
        "loss_class",
    ]


def test_long_curves_are_smoothed() -> None:
    assert smoothed([3.0, 1.0, 2.0]).tolist() == [3.0, 1.0, 2.0]
    noisy = np.tile([0.0, 2.0], 500)
    smooth = smoothed(noisy.tolist())
    assert len(smooth) == len(noisy)
    assert abs(smooth[100:-100] - 1.0).max() < 0.2
    assert smoothed(np.ones(1000).tolist()).tolist() == [1.0] * 1000


def test_events_for_tensorboard(folder: Path, tmp_path: Path, fake: list[FakeRegionModel]) -> None:
    pytest.importorskip("tensorboard", reason="an extra of its own")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = ("Recipe.event_log=tensorboard", "Recipe.checkpoint_interval=2")
    Trainer(configuration(folder, tmp_path, *settings, "Train.epochs_iters=2")).run()
    epoch = tmp_path / "epoch_1" / "epoch_1.pdparams"
    Trainer(configuration(folder, tmp_path, *settings, "Train.epochs_iters=2", f"Train.resume_path={epoch}")).run()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = {"train/loss", "train/loss_area", "train/learning_rate", "val/mask_ap", "val/mask_ap50", "val/box_ap"}
    assert {*events.Tags()["scalars"]} == tags
    # What was done again is there once, as in the metrics.
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    expected = [(record["iteration"], record["loss"]) for record in records if "loss" in record]
    assert [step for step, _ in expected] == [1, 2, 3, 4, 5, 6]
    found = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert [step for step, _ in found] == [step for step, _ in expected]
    np.testing.assert_allclose([value for _, value in found], [value for _, value in expected], rtol=1e-6)


def test_without_tensorboard(
    folder: Path, tmp_path: Path, fake: list[FakeRegionModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ConfigError, match=r"Recipe\.event_log: tensorboard is not installed: pip install tensorboard"):
        Trainer(configuration(folder, tmp_path, "Recipe.event_log=tensorboard")).run()
