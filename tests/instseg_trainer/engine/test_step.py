"""Steps of the optimizer in parts, their end before the last epoch, and mixed precision."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.config import EarlyStopConfig
from instseg_trainer.engine import precision as precision_module
from instseg_trainer.engine.early_stop import EarlyStop
from instseg_trainer.engine.precision import Precision
from instseg_trainer.engine.saved_models import saved_epochs
from instseg_trainer.engine.trainer import Trainer
from instseg_trainer.errors import CheckpointError, ConfigError
from instseg_trainer.weights import read_pdparams

from .fake_models import FakeRegionModel, configuration

# Without noise and statistics of the batch, the fake model's loss is a mean over images.
PLAIN = ("Recipe.freeze=[^norm]", "Train.epochs_iters=2")


@pytest.fixture
def no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddle, "rand", paddle.ones)


def losses(output: Path) -> list[float]:
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if "loss" in record]


@pytest.mark.usefixtures("no_noise")
def test_parts_of_a_batch_make_the_step_of_the_whole(folder: Path, tmp_path: Path, fake: list[FakeRegionModel]) -> None:
    whole = Trainer(configuration(folder, tmp_path / "whole", "Train.batch_size=6", *PLAIN)).run()
    parts = configuration(folder, tmp_path / "parts", "Train.batch_size=2", "Recipe.accumulate=3", *PLAIN)
    in_parts = Trainer(parts).run()
    assert in_parts.iterations == whole.iterations == 2
    assert [shape[0] for shape, _ in fake[0].given] == [6, 6]
    assert [shape[0] for shape, _ in fake[1].given] == [2] * 6
    np.testing.assert_allclose(losses(tmp_path / "parts"), losses(tmp_path / "whole"), rtol=1e-6)
    expected = read_pdparams(whole.best_weights)
    start = FakeRegionModel().state_dict()
    for name, array in read_pdparams(in_parts.best_weights).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-7, err_msg=name)
    assert not np.array_equal(expected["head.weight"], start["head.weight"].numpy())


def test_a_loss_that_is_not_finite_ends_the_training(
    folder: Path, tmp_path: Path, fake: list[FakeRegionModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paddle, "rand", lambda shape: paddle.full(shape, float("inf")))
    with pytest.raises(CheckpointError, match=r"iteration 0: the loss is .*: lower Train\.learning_rate"):
        Trainer(configuration(folder, tmp_path)).run()


def test_early_stop_counts_evaluations() -> None:
    stop = EarlyStop.from_config(EarlyStopConfig(2, 0.01))
    answers = []
    for mask_ap in (0.0, 0.2, 0.205, 0.215, 0.22, 0.225):
        stop.update(mask_ap)
        answers.append((stop.best, stop.waited, stop.reached))
    assert answers == [
        (0.0, 0, False),
        (0.2, 0, False),
        (0.2, 1, False),
        (0.215, 0, False),
        (0.215, 1, False),
        (0.215, 2, True),
    ]
    never = EarlyStop.from_config(EarlyStopConfig(0, 0.0))
    for _ in range(9):
        never.update(0.5)
    assert not never.reached
    with pytest.raises(ConfigError, match=r"Recipe\.early_stop: expected patience"):
        EarlyStop.from_config(EarlyStopConfig(-1, 0.0))


def test_a_training_ends_early_and_stays_ended(folder: Path, tmp_path: Path, fake: list[FakeRegionModel]) -> None:
    """The fake model always finds the same."""
    settings = ("Train.epochs_iters=9", "Recipe.early_stop.patience=2")
    result = Trainer(configuration(folder, tmp_path, *settings)).run()
    assert result.iterations == 9  # three of nine epochs: the first evaluation is the best
    assert saved_epochs(tmp_path) == [3, 2, 1]
    assert json.loads((tmp_path / "train_result.json").read_text())["done_flag"] is True
    assert "stopped after epoch 3: 2 evaluations without a better mask AP" in (tmp_path / "train.log").read_text()
    again = Trainer(configuration(folder, tmp_path, *settings, f"Train.resume_path={tmp_path}")).run()
    assert again.iterations == 9
    assert not fake[-1].given
    # More patience, and the training goes on: one more evaluation makes three.
    more = ("Train.epochs_iters=9", "Recipe.early_stop.patience=3", f"Train.resume_path={tmp_path}")
    assert Trainer(configuration(folder, tmp_path, *more)).run().iterations == 12


def test_mixed_precision_needs_a_gpu(folder: Path, tmp_path: Path, fake: list[FakeRegionModel]) -> None:
    for amp in ("float16", "bfloat16"):
        with pytest.raises(ConfigError, match=rf"Recipe\.amp: {amp} needs a GPU"):
            Trainer(configuration(folder, tmp_path, f"Recipe.amp={amp}"))


def test_a_gpu_without_the_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_module.paddle, "get_device", lambda: "gpu:0")
    monkeypatch.setattr(paddle.amp, "is_bfloat16_supported", lambda: False)
    with pytest.raises(ConfigError, match=r"Recipe\.amp: gpu:0 has no bfloat16"):
        Precision("bfloat16")


def test_the_scale_of_the_loss_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU the scaler of Paddle does nothing; what it would count is written and read."""
    monkeypatch.setattr(precision_module.paddle, "get_device", lambda: "gpu:0")
    monkeypatch.setattr(paddle.amp, "is_float16_supported", lambda: True)
    kept = {"scale": np.array([65536.0], np.float32), "incr_count": 0, "decr_count": 0}
    scaler = type(
        "Scaler", (), {"state_dict": lambda self: dict(kept), "load_state_dict": lambda self, new: kept.update(new)}
    )
    monkeypatch.setattr(paddle.amp, "GradScaler", lambda init_loss_scaling: scaler())
    precision = Precision("float16")
    assert precision.state() == {"scale": 65536.0, "incr_count": 0, "decr_count": 0}
    precision.restore({"scale": 1024.0, "incr_count": 7.0, "decr_count": 1.0})
    assert precision.state() == {"scale": 1024.0, "incr_count": 7.0, "decr_count": 1.0}
    assert Precision("none").state() is None


def test_accumulation_needs_a_part(folder: Path, tmp_path: Path, fake: list[FakeRegionModel]) -> None:
    with pytest.raises(ConfigError, match=r"Recipe\.accumulate: expected a number from 1, found 0"):
        Trainer(configuration(folder, tmp_path, "Recipe.accumulate=0"))
