"""Trainings of several processes, and trainings that are killed while they write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.weights import read_pdparams, read_states

REPOSITORY = Path(__file__).resolve().parents[3]
CHECKPOINTS = ["Recipe.checkpoint_interval=2", "Recipe.use_ema=true", "Recipe.workers=1"]
PROGRAM = "tests.instseg_trainer.engine.fake_training"


def run(*arguments: str, launch: tuple[str, ...] = ()) -> int:
    """The exit code of the program, by the launcher where it has arguments."""
    paths = os.pathsep.join([str(REPOSITORY), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if launch:
        # The launcher takes a file, which finds the package by its place.
        command = [sys.executable, "-m", "paddle.distributed.launch", *launch]
        file = Path(launch[-1])
        file.write_text(f"import runpy; runpy.run_module({PROGRAM!r}, run_name='__main__')\n")
    else:
        command = [sys.executable, "-m", PROGRAM]
    done = subprocess.run(
        [*command, *arguments], env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode > 0:
        print(done.stdout, done.stderr)
    return done.returncode


def losses(output: Path) -> list[float]:
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if "loss" in record]


@pytest.mark.slow
def test_two_processes_train_as_one_with_their_images_together(folder: Path, tmp_path: Path) -> None:
    settings = ["--plain", "Recipe.freeze=[^norm]", "Recipe.augmentation=[]", "Train.epochs_iters=2"]
    assert run(str(folder), str(tmp_path / "one"), *settings, "Train.batch_size=2") == 0
    launch = ("--nproc_per_node", "2", "--backend", "gloo", "--log_dir", str(tmp_path / "log"))
    code = run(
        str(folder), str(tmp_path / "two"), *settings, "Train.batch_size=1", launch=(*launch, str(tmp_path / "run.py"))
    )
    assert code == 0, "".join(path.read_text() for path in (tmp_path / "log").glob("workerlog.*"))
    expected = losses(tmp_path / "one")
    assert len(expected) == 6
    np.testing.assert_allclose(losses(tmp_path / "two"), expected, rtol=1e-5)
    best = "best_model/best_model.pdparams"
    one, other = (read_pdparams(tmp_path / name / best) for name in ("one", "two"))
    for name, array in one.items():
        np.testing.assert_allclose(other[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def undisturbed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    output = tmp_path_factory.mktemp("undisturbed") / "output"
    assert run(str(folder), str(output), *CHECKPOINTS) == 0
    return losses(output)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "count"),
    [("model.pdopt", 2), ("iter_00000005", 1), ("epoch_2.pdparams", 1)],
    ids=["checkpoint", "renaming", "epoch"],
)
def test_killed_while_it_writes(where: str, count: int, folder: Path, tmp_path: Path, undisturbed: list[float]) -> None:
    output = tmp_path / "output"
    assert run(str(folder), str(output), "--die", where, str(count), *CHECKPOINTS) == -9
    left = [path for path in output.rglob("*") if path.name.startswith(".") and path.suffix == ".tmp"]
    assert left
    # Half a file is nowhere but in what is called unfinished.
    for file in output.rglob("*.pd*"):
        if not any(part.startswith(".") for part in file.relative_to(output).parts):
            is_text = file.name == "model.pdstates"
            assert yaml.safe_load(file.read_text()) if is_text else read_states(file)
    assert run(str(folder), str(output), *CHECKPOINTS, f"Train.resume_path={output}") == 0
    assert losses(output) == undisturbed
    assert not list(output.rglob(".*"))
    assert json.loads((output / "train_result.json").read_text())["done_flag"] is True
