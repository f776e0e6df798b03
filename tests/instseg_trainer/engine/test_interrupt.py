"""Ctrl-C in a training: it ends at the next iteration with a checkpoint, and goes on from there."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.engine.checkpoint import latest_checkpoint
from instseg_trainer.engine.interrupt import Interrupt
from instseg_trainer.engine.trainer import Trainer
from instseg_trainer.errors import CheckpointError
from instseg_trainer.weights import read_pdparams

from .fake_models import FakeRegionModel, configuration


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Tests that run in the background of a shell have SIGINT ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def press_ctrl_c(times: int = 1) -> None:
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)


def before_step(trainer: Trainer, number: int, action: Callable[[], None]) -> None:
    """Calls `action` before the step of that number, from 1, is taken."""
    take_step, steps = trainer._step, iter(range(1, number + 1))

    def step(batch: Any) -> dict[str, float]:
        if next(steps, None) == number:
            action()
        return take_step(batch)

    trainer._step = step  # type: ignore[method-assign]


# Of three epochs of three iterations: within one, and the last of one, which is evaluated first.
@pytest.mark.parametrize("number", [4, 6, 9])
def test_an_interrupted_training_goes_on_where_it_was(
    number: int, folder: Path, tmp_path: Path, fake: list[FakeRegionModel], capfd: pytest.CaptureFixture[str]
) -> None:
    whole = Trainer(configuration(folder, tmp_path / "whole")).run()
    output = tmp_path / "broken"
    broken = Trainer(configuration(folder, output))
    before_step(broken, number, press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    checkpoint = latest_checkpoint(output)
    assert checkpoint is not None
    assert checkpoint.name == f"iter_{number:08d}"
    assert "Ctrl-C again ends at once" in capfd.readouterr().err
    last = (output / "train.log").read_text().splitlines()[-1]
    assert f"interrupted at iteration {number}; to go on: instseg train -c {output / 'config.yaml'}" in last

    resumed = Trainer(configuration(folder, output, f"Train.resume_path={output}")).run()
    assert len(fake[-1].given) == 9 - number
    assert resumed.best_epoch == whole.best_epoch
    expected = read_pdparams(whole.best_weights)
    for name, array in read_pdparams(resumed.best_weights).items():
        assert np.array_equal(array, expected[name]), name


def test_a_second_ctrl_c_ends_at_once(folder: Path, tmp_path: Path, fake: list[FakeRegionModel]) -> None:
    output = tmp_path / "o"
    trainer = Trainer(configuration(folder, output))
    before_step(trainer, 4, lambda: press_ctrl_c(times=2))
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert len(fake[-1].given) == 3
    assert latest_checkpoint(output) is None
    # What there is to go on from is the epoch that was evaluated.
    with pytest.raises(CheckpointError, match=r"newest epoch is Train\.resume_path=.*epoch_1/epoch_1\.pdparams"):
        Trainer(configuration(folder, output, f"Train.resume_path={output}")).run()


def test_handlers_of_others_stay() -> None:
    def others(*_: object) -> None: ...

    previous = signal.signal(signal.SIGINT, others)
    try:
        with Interrupt():
            assert signal.getsignal(signal.SIGINT) is others
    finally:
        signal.signal(signal.SIGINT, previous)


def test_not_enabled_and_in_other_threads_nothing_changes() -> None:
    found = []

    def enter() -> None:
        with Interrupt():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    with Interrupt(enabled=False):
        found.append(signal.getsignal(signal.SIGINT))
    assert found == [signal.default_int_handler] * 2
