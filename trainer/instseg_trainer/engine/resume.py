"""What `Train.resume_path` names: an output folder with checkpoints, or, as in PaddleX, the weights of an epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..config import Config
from ..errors import CheckpointError, ConfigError
from ..weights import read_pdparams, read_states
from .checkpoint import Checkpoint, TrainingState, load_checkpoint
from .saved_models import best_up_to

_WEIGHTS = ".pdparams"


def output_folder(config: Config) -> Path:
    """Where the training writes: the folder that it goes on with, or `Global.output`. `ConfigError` for a file."""
    path = config.Train.resume_path
    key, given = "Global.output", config.Global.output
    if path is not None and not path.endswith(_WEIGHTS):
        key, given = "Train.resume_path", path
    if Path(given).is_file():
        raise ConfigError(f"{key}: {given} is a file, expected a folder")
    return Path(given)


def load_resumed(config: Config, fresh: TrainingState) -> Checkpoint | None:
    """What to go on from; None: from nothing. fresh: the state of a training of this configuration that has not begun.

    From an epoch's weights the training goes on with the next epoch. Raises `CheckpointError` and `WeightsError`.
    """
    path = config.Train.resume_path
    if path is None:
        return None
    if not path.endswith(_WEIGHTS):
        return load_checkpoint(Path(path))
    return _load_epoch(Path(path), output_folder(config), fresh)


def _load_epoch(path: Path, output: Path, fresh: TrainingState) -> Checkpoint:
    beside = {suffix: path.with_suffix(f".{suffix}") for suffix in ("pdopt", "pdstates", "pdema")}
    missing = [file for file in (path, beside["pdopt"], beside["pdstates"]) if not file.is_file()]
    if missing:
        raise CheckpointError(
            f"Train.resume_path: {missing[0]} is not there: expected the .pdparams of an epoch with its .pdopt and "
            ".pdstates beside it, or a training's output folder"
        )
    epoch = read_states(beside["pdstates"]).get("epoch")
    if not isinstance(epoch, int) or epoch < 1:
        raise CheckpointError(f"{beside['pdstates']}: epoch: expected a number from 1, found {epoch!r}")
    weights = read_pdparams(path)
    trained = read_pdparams(beside["pdema"]) if beside["pdema"].is_file() else None
    iteration = epoch * fresh.iterations_per_epoch
    best_ap, best_epoch = best_up_to(output, epoch)
    state = TrainingState(iteration, iteration, best_ap, best_epoch, fresh.iterations_per_epoch, fresh.fingerprint)
    optimizer = _arrays(beside["pdopt"])
    # Where weights are averaged, what the optimizer works on is in the .pdema.
    return Checkpoint(weights if trained is None else trained, None if trained is None else weights, optimizer, state)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays among the entries, which also count epochs and describe a schedule."""
    found = {}
    for name, value in read_states(path).items():
        array = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        if isinstance(array, np.ndarray):
            found[name] = array
    return found


def check_optimizer(optimizer: dict[str, np.ndarray], shapes: dict[str, list[int]], source: str) -> None:
    """Raises `CheckpointError` where an entry of an optimizer's state is of none of the parameters.

    shapes: of the parameters by Paddle's name, which counts layers and so depends on the program that made them.
    """
    for name, array in optimizer.items():
        owner = max((other for other in shapes if name.startswith(f"{other}_")), key=len, default=None)
        if owner is None or (array.size != 1 and list(array.shape) != shapes[owner]):
            raise CheckpointError(
                f"{source}: the optimizer's {name} {list(array.shape)} fits no parameter: its training was of another "
                "program or recipe; start from its weights instead, with Train.pretrain_weight_path"
            )
