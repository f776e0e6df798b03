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
from tests.long_tests import on_request

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


def train_ppyoloe(folder: Path, output: Path, *settings: str, launch: tuple[str, ...] = ()) -> None:
    """A short training of PP-YOLOE_seg-N by `main.py`."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    launcher = ["-m", "paddle.distributed.launch", *launch] if launch else []
    overrides = [
        f"Global.dataset_dir={folder}",
        f"Global.output={output}",
        "Train.warmup_steps=0",
        "Recipe.workers=0",
        "Recipe.image_size=[96, 96]",
        "Recipe.augmentation=[]",
        "Recipe.static_graph=false",
        "Recipe.bundle=false",
        *settings,
    ]
    command = [sys.executable, *launcher, str(REPOSITORY / "main.py"), "-c", "PP-YOLOE_seg-N", "-o", *overrides]
    done = subprocess.run(command, env=environment, cwd=output.parent, capture_output=True, text=True, check=False)
    logs = "".join(path.read_text() for path in output.parent.glob("log/workerlog.*"))
    assert done.returncode == 0, done.stderr[-2000:] + logs[-2000:]


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


@on_request
def test_two_processes_train_ppyoloe_as_one(folder: Path, tmp_path: Path) -> None:
    """A real model, whose losses count objects over all processes. Its norms are frozen: a BatchNorm that learns has
    the statistics of each process's images alone.
    """
    best = "best_model/best_model.pdparams"
    # Statistics to freeze, and boxes that meet objects: a process that matches hardly any counts one.
    start = ("Train.batch_size=3", "Train.epochs_iters=60", "Train.eval_interval=0", "Recipe.use_ema=false")
    train_ppyoloe(folder, tmp_path / "start", *start)
    settings = (
        f"Train.pretrain_weight_path={tmp_path / 'start' / best}",
        "Train.epochs_iters=4",
        "Train.eval_interval=0",
        "Train.learning_rate=0.0001",
        "Recipe.freeze=['[.]bn[.]']",
        # AdamW makes whole steps of gradients that are nothing but rounding.
        "Recipe.optimizer.type=momentum",
    )
    train_ppyoloe(folder, tmp_path / "one", "Train.batch_size=6", *settings)
    launch = ("--nproc_per_node", "2", "--backend", "gloo", "--log_dir", str(tmp_path / "log"))
    train_ppyoloe(folder, tmp_path / "two", "Train.batch_size=3", *settings, launch=launch)
    expected = losses(tmp_path / "one")
    assert len(expected) == len(set(expected)) == 4
    np.testing.assert_allclose(losses(tmp_path / "two"), expected, rtol=1e-4)
    one, other = (read_pdparams(tmp_path / name / best) for name in ("one", "two"))
    for name, array in one.items():
        np.testing.assert_allclose(other[name], array, rtol=1e-3, atol=1e-5, err_msg=name)


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
