"""What a model's name and folder mean: a bundle, or Paddle weights to make one of."""

from __future__ import annotations

import os
from pathlib import Path

from instseg_rt.converted import PaddleWeights
from instseg_rt.embedded import MANIFEST_NAME, embedded_bundles
from instseg_rt.errors import InvalidArgumentError, IoError, UnsupportedError
from instseg_rt.models import find_model

_BEST = "best_model.pdparams"
_DESCRIPTION = "inference.yml"
_WEIGHTS_SUFFIX = ".pdparams"
# Where PaddleX's and our trainings leave their weights, from the folder that is given.
_COPY = "model.pdparams"  # PaddleX's second copy of the best weights, in a folder beside `inference`
_WEIGHTS = (f"best_model/{_BEST}", _BEST, _COPY)


def find_model_files(model: str, folder: str | os.PathLike[str] | None) -> Path | PaddleWeights:
    """The bundle or the weights of `model`.

    folder: a bundle; the output of a training of PaddleX or ours, or a part of it (`best_model`,
    `best_model/inference`); a `.pdparams` file; None: the bundle of this name in the package, else the official
    weights.

    Raises `InvalidArgumentError` for a name that is not known and a folder with none of these, `IoError` for a path
    that does not exist, `UnsupportedError` for PaddleX's inference models without the weights that they were made of.
    """
    if folder is None:
        if not isinstance(model, str):
            raise InvalidArgumentError(f"model_name: expected a name, found {model!r}")
        embedded = embedded_bundles().get(model)
        return embedded if embedded is not None else PaddleWeights(_known(model))
    path = Path(folder)
    if (path / MANIFEST_NAME).is_file():
        return path
    if path.is_file() and path.suffix == _WEIGHTS_SUFFIX:
        return _described(_known(model), path)
    if not path.is_dir():
        found = "found another file" if path.exists() else "there is no such folder"
        raise IoError(f"{path}: expected a bundle, a training's output folder or a {_WEIGHTS_SUFFIX} file; {found}")
    for weights in (path / place for place in _WEIGHTS):
        if weights.is_file():
            return _described(_known(model), weights)
    if any(path.glob("*.pdiparams")) or any(path.glob("*.onnx")):
        return _trained_beside(_known(model), path)
    raise InvalidArgumentError(
        f"{path}: expected a bundle ({MANIFEST_NAME}) or trained weights ({', '.join(_WEIGHTS)}), found none of these"
    )


def _known(model: str) -> str:
    try:
        return find_model(model).model
    except InvalidArgumentError as error:
        if Path(model).is_dir():
            raise InvalidArgumentError(f"{error}; {model} is a folder, which model_dir takes") from None
        raise


def _described(model: str, weights: Path) -> PaddleWeights:
    """With PaddleX's description, where it is not in the folder below the weights, in which the export looks itself."""
    folder = weights.absolute().parent
    places = [folder / _DESCRIPTION]
    if weights.name == _COPY:
        places.append(folder.parent / "inference" / _DESCRIPTION)
    if (folder / "inference" / _DESCRIPTION).is_file():
        places.clear()
    return PaddleWeights(model, weights, next((place for place in places if place.is_file()), None))


def _trained_beside(model: str, inference: Path) -> PaddleWeights:
    """The weights that a training of PaddleX made its inference model of.

    The inference model itself is of no use: its parameters have the names of the program, which say nothing of the
    layer that they belong to, and branches and norms have been merged into them.
    """
    weights = inference.absolute().parent / _BEST
    if weights.is_file():
        description = inference.absolute() / _DESCRIPTION
        found = _described(model, weights)
        if inference.name == "inference" or not description.is_file():
            return found
        return PaddleWeights(model, weights, description)
    raise UnsupportedError(
        f"{inference}: an inference model of PaddleX, whose parameters cannot be mapped back to the layers of {model} "
        f"exactly; give the training's output folder or its {_BEST}, or no model_dir for the official weights"
    )
