"""PaddleX's way to resume: the weights of an epoch, with what lies beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.engine.resume import check_optimizer
from instseg_trainer.engine.saved_models import saved_epochs
from instseg_trainer.engine.trainer import Trainer
from instseg_trainer.errors import CheckpointError
from instseg_trainer.weights import read_pdparams

from .fake_models import FakeRegionModel, configuration

AVERAGES = ("Recipe.use_ema=true", "Recipe.ema_decay=0.9")


def losses(output: Path) -> list[float]:
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if "loss" in record]


@pytest.mark.parametrize("averages", [(), AVERAGES], ids=["plain", "averages"])
def test_from_an_epoch(averages: tuple[str, ...], folder: Path, tmp_path: Path, fake: list[FakeRegionModel]) -> None:
    whole = Trainer(configuration(folder, tmp_path / "whole", *averages)).run()
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    weights = tmp_path / "again" / "epoch_2" / "epoch_2.pdparams"
    settings = (*averages, f"Train.resume_path={weights}")
    resumed = Trainer(configuration(folder, tmp_path / "again", *settings)).run()
    assert len(fake[-1].given) == 3  # the third epoch's
    assert losses(tmp_path / "again") == losses(tmp_path / "whole")
    assert saved_epochs(tmp_path / "again") == [3, 2, 1]
    assert (resumed.best_epoch, resumed.iterations) == (3, 9)
    expected = read_pdparams(whole.best_weights)
    for name, array in read_pdparams(resumed.best_weights).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_into_another_folder(folder: Path, tmp_path: Path, fake: list[FakeRegionModel]) -> None:
    whole = Trainer(configuration(folder, tmp_path / "whole")).run()
    weights = tmp_path / "whole" / "epoch_1" / "epoch_1.pdparams"
    before = sorted(path.name for path in (tmp_path / "whole").iterdir())
    resumed = Trainer(configuration(folder, tmp_path / "new", f"Train.resume_path={weights}")).run()
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == before
    assert resumed.best_weights.is_relative_to(tmp_path / "new")
    assert losses(tmp_path / "new") == losses(tmp_path / "whole")[3:]
    expected = read_pdparams(whole.best_weights)
    assert all((array == expected[name]).all() for name, array in read_pdparams(resumed.best_weights).items())


@pytest.mark.parametrize("missing", ["epoch_1.pdparams", "epoch_1.pdopt", "epoch_1.pdstates"])
def test_what_is_missing_is_named(missing: str, folder: Path, tmp_path: Path, fake: list[FakeRegionModel]) -> None:
    Trainer(configuration(folder, tmp_path, "Train.epochs_iters=1")).run()
    (tmp_path / "epoch_1" / missing).unlink()
    weights = tmp_path / "epoch_1" / "epoch_1.pdparams"
    with pytest.raises(CheckpointError, match=rf"Train\.resume_path: .*{missing} is not there"):
        Trainer(configuration(folder, tmp_path, f"Train.resume_path={weights}")).run()


def test_the_optimizer_of_another_program() -> None:
    shapes = {"conv2d_1.w_0": [4, 3], "conv2d_1.w_0_1": [2]}
    good = {"conv2d_1.w_0_velocity_0": np.zeros((4, 3)), "conv2d_1.w_0_beta1_pow_acc_0": np.ones(1)}
    check_optimizer(good, shapes, "x.pdparams")
    check_optimizer({"conv2d_1.w_0_1_velocity_0": np.zeros(2)}, shapes, "x.pdparams")
    for wrong in ({"conv2d_1.w_0_velocity_0": np.zeros((3, 4))}, {"conv2d_2.w_0_velocity_0": np.zeros((4, 3))}):
        with pytest.raises(CheckpointError, match=r"x\.pdparams: the optimizer's conv2d_.* fits no parameter"):
            check_optimizer(wrong, shapes, "x.pdparams")
