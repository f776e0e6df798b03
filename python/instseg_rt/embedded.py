"""Bundles that are shipped inside the package, under `instseg_rt/bundles/<name>/`."""

from __future__ import annotations

import os
from pathlib import Path

from instseg_rt.errors import InvalidArgumentError, IoError

MANIFEST_NAME = "manifest.yaml"
_FOLDER = Path(__file__).parent / "bundles"


def embedded_bundles(folder: Path = _FOLDER) -> dict[str, Path]:
    """Name -> directory of every bundle in the package, sorted by name."""
    return {manifest.parent.name: manifest.parent for manifest in sorted(folder.glob(f"*/{MANIFEST_NAME}"))}


def default_bundle(folder: Path = _FOLDER) -> Path:
    """The bundle that `instseg demo` runs: the first embedded one; `IoError` where none was installed."""
    bundles = embedded_bundles(folder)
    if not bundles:
        raise IoError(
            f"no bundle is embedded in this installation (looked in {folder}): "
            "export one with instseg-export and give its path"
        )
    return next(iter(bundles.values()))


def resolve_bundle(bundle: str | os.PathLike[str], folder: Path = _FOLDER) -> Path:
    """The directory of a bundle given by path or by the name of an embedded one; a path that exists wins.

    Raises `InvalidArgumentError` for another type, `IoError` when there is no such directory or name.
    """
    if not isinstance(bundle, str | os.PathLike):
        raise InvalidArgumentError(
            f"bundle: expected a path or the name of an embedded bundle, found {type(bundle).__name__}"
        )
    path = Path(bundle)
    if path.is_dir():
        _refuse_training_output(path)
        return path
    embedded = embedded_bundles(folder)
    if str(bundle) in embedded:
        return embedded[str(bundle)]
    known = ", ".join(embedded) or "none"
    if path.exists():
        raise IoError(f"{bundle}: expected a bundle, a directory with a {MANIFEST_NAME}; found a file{_hint(path)}")
    missing = f"{bundle}: no such bundle directory, and no embedded bundle of that name (embedded: {known})"
    raise IoError(f"{missing}{_hint(path)}")


def _refuse_training_output(path: Path) -> None:
    """Names the bundle in the output folder of a training or of its best model, which is none itself."""
    if (path / MANIFEST_NAME).exists():
        return
    for place in (path / "best_model" / "bundle", path / "bundle"):
        if (place / MANIFEST_NAME).is_file():
            raise IoError(f"{path}: a training's output, not a bundle; its bundle is {place}")


def _hint(path: Path) -> str:
    """How a bundle is made of what was given in place of one: weights, or the name of a model."""
    if path.suffix == ".pdparams":
        return f"; make a bundle of weights: `instseg export MODEL --weights {path} --output MODEL.bundle`"
    from instseg_rt.models import model_rows  # reads YAML, which a bundle that is there does not need

    if str(path) in {row.model for row in model_rows()}:
        return f"; make one of the model: `instseg export {path} --weights official --output {path}.bundle`"
    return ""
