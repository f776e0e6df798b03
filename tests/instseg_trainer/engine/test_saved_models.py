"""Folders of evaluated epochs and of the best one."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.engine.saved_models import (
    Evaluated,
    best_up_to,
    drop_epochs_after,
    remove_leftovers,
    save_evaluated,
    saved_epochs,
)
from instseg_trainer.errors import WeightsError
from instseg_trainer.weights import read_pdparams, read_states


def model(epoch: int, averaged: bool = True) -> Evaluated:
    weights = {"w": paddle.full([2], float(epoch))}
    trained = {"w": paddle.full([2], epoch + 0.5)} if averaged else None
    return Evaluated(weights, trained, {"w_moment": paddle.ones([2]), "LR_Scheduler": {}}, epoch / 10, epoch)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_newest_epochs_are_kept_and_the_best_stays(tmp_path: Path) -> None:
    for epoch in range(1, 5):
        save_evaluated(tmp_path, model(epoch), best=epoch == 2, kept=2)
    assert files(tmp_path) == ["best_model", "epoch_3", "epoch_4"]
    assert saved_epochs(tmp_path) == [4, 3]
    assert files(tmp_path / "epoch_4") == [f"epoch_4.{name}" for name in ("pdema", "pdopt", "pdparams", "pdstates")]
    best = tmp_path / "best_model"
    assert files(best) == [f"best_model.{name}" for name in ("pdema", "pdopt", "pdparams", "pdstates")]
    np.testing.assert_array_equal(read_pdparams(best / "best_model.pdparams")["w"], [2, 2])
    np.testing.assert_array_equal(read_pdparams(best / "best_model.pdema")["w"], [2.5, 2.5])
    assert read_states(best / "best_model.pdstates") == {"metric": 0.2, "epoch": 2}
    assert sorted(read_states(best / "best_model.pdopt")) == ["last_epoch", "w_moment"]


def test_no_folders_of_epochs(tmp_path: Path) -> None:
    save_evaluated(tmp_path, model(1), best=True, kept=0)
    save_evaluated(tmp_path, model(2), best=False, kept=0)
    assert files(tmp_path) == ["best_model"]
    assert read_states(tmp_path / "best_model" / "best_model.pdstates")["epoch"] == 1


def test_new_best_weights_leave_nothing_of_the_old_ones(tmp_path: Path) -> None:
    save_evaluated(tmp_path, model(1), best=True, kept=1)
    (tmp_path / "best_model" / "bundle").mkdir()
    save_evaluated(tmp_path, model(2, averaged=False), best=True, kept=1)
    assert files(tmp_path / "best_model") == [f"best_model.{name}" for name in ("pdopt", "pdparams", "pdstates")]


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    save_evaluated(tmp_path, model(3), best=True, kept=1)
    for suffix in ("pdparams", "pdema", "pdopt", "pdstates"):
        copy = tmp_path / "best_model" / f"best_model.{suffix}"
        assert copy.read_bytes() == (tmp_path / "epoch_3" / f"epoch_3.{suffix}").read_bytes()


def test_what_an_interrupted_or_earlier_training_left_goes(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        save_evaluated(tmp_path, model(epoch), best=False, kept=5)
    (tmp_path / "epoch_notes").mkdir()
    unfinished = [".epoch_4.1.tmp", "epoch_2/.inference.1.tmp", "checkpoints/.iter_00000004.1.tmp"]
    for name in unfinished:
        (tmp_path / name / "part").mkdir(parents=True)
    (tmp_path / ".metrics.jsonl.tmp").touch()
    (tmp_path / "epoch_2" / ".keep").touch()
    remove_leftovers(tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))
    assert (tmp_path / "epoch_2" / ".keep").is_file()
    drop_epochs_after(tmp_path, 1)
    save_evaluated(tmp_path, model(2), best=False, kept=5)
    assert files(tmp_path) == ["checkpoints", "epoch_1", "epoch_2", "epoch_notes"]


def test_the_best_epoch_so_far(tmp_path: Path) -> None:
    assert best_up_to(tmp_path, 3) == (-1.0, -1)
    for epoch, score, best in ((1, 0.25, True), (2, 0.5, True), (3, 0.125, False), (4, 0.75, True)):
        save_evaluated(tmp_path, dataclasses.replace(model(epoch), score=score), best=best, kept=5)
    assert best_up_to(tmp_path, 4) == (0.75, 4)
    # Before the best one: that of the epochs that are left, and its weights become the best.
    assert best_up_to(tmp_path, 3) == (0.5, 2)
    best = (tmp_path / "best_model" / "best_model.pdparams").read_bytes()
    assert best == (tmp_path / "epoch_2" / "epoch_2.pdparams").read_bytes()
    assert best_up_to(tmp_path, 3) == (0.5, 2)


def test_states_with_more_than_numbers_are_refused(tmp_path: Path) -> None:
    paddle.save({"metric": Path}, str(tmp_path / "a.pdstates"))
    with pytest.raises(WeightsError, match="refused as a weights file"):
        read_states(tmp_path / "a.pdstates")
