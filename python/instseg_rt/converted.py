"""Bundles made from Paddle weights: converted once, and kept in the cache folder.

The cache has a folder `bundles` with one bundle for each model, weights, description beside the weights, and version of
this package. What another process converts is waited for; what was interrupted leaves nothing that looks like a bundle.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from instseg_rt import _core
from instseg_rt.embedded import MANIFEST_NAME
from instseg_rt.errors import Error, InvalidArgumentError, IoError, UnsupportedError
from instseg_rt.file_lock import exclusive
from instseg_rt.files import file_sha256
from instseg_rt.official_weights import OFFICIAL, cache_folder, cached_weights

if TYPE_CHECKING:
    from instseg_export.exporter import ExportOptions

Say = Callable[[str], None]

# Modules of the errors that are one line about what was given.
_USER_ERRORS = ("instseg_export.errors", "instseg_trainer.errors")


@dataclass(frozen=True, slots=True)
class PaddleWeights:
    """Weights of a model in Paddle's format.

    file: the `.pdparams`; None: the official ones.
    description: PaddleX's `inference.yml` where it lies in another place than the export looks at.
    """

    model: str
    file: Path | None = None
    description: Path | None = None


def converted_bundle(weights: PaddleWeights, say: Say = lambda _line: None) -> Path:
    """The bundle of these weights: that of the cache, or a new one there.

    say: gets a line per step of a download or conversion, and where another process is waited for.
    Raises `UnsupportedError` where the packages of the export are not installed, `InvalidArgumentError` with the
    export's reason for weights that it refuses, `IoError` for files and downloads that fail.
    """
    folder = cache_folder() / "bundles"
    found = _cached(folder, weights)
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / f".{weights.model}.lock", lambda: say(f"{weights.model}: waiting for another process")):
            found = _cached(folder, weights)
            return found if found is not None else _convert(folder, weights, say)
    except OSError as error:
        raise IoError(f"{folder}: cannot be written: {error.strerror or error}; INSTSEG_CACHE names another") from error


def _cached(folder: Path, weights: PaddleWeights) -> Path | None:
    bundle = _target(folder, weights)
    return bundle if bundle is not None and (bundle / MANIFEST_NAME).is_file() else None


def _target(folder: Path, weights: PaddleWeights) -> Path | None:
    """Where the bundle belongs; None for official weights that have not been downloaded."""
    from instseg_export.trained import find_trained

    file, sha256 = weights.file, None
    if file is None:
        official = cached_weights(weights.model)
        if official.size is None:
            return None
        file, sha256 = official.path, official.sha256
    beside = asdict(find_trained(file))
    described = [weights.description, *(beside[name] for name in ("config", "categories", "inference"))]
    contents = [_core.version(), sha256 or file_sha256(file), *(path and file_sha256(path) for path in described)]
    key = hashlib.sha256(json.dumps(contents).encode()).hexdigest()
    return folder / f"{weights.model}-{key[:32]}"


def _convert(folder: Path, weights: PaddleWeights, say: Say) -> Path:
    """With the lock: nobody else is at this model, and what is unfinished is nobody's."""
    _remove_leftovers(folder, weights.model)
    new = folder / f"{weights.model}.new"
    try:
        _export(weights, new, say)
        target = _target(folder, weights)
        if target is None:
            raise IoError(f"{weights.model}: the official weights are gone from the cache: try again")
        shutil.rmtree(target, ignore_errors=True)  # without its manifest, or it would have been found
        new.rename(target)
        return target
    finally:
        _remove_leftovers(folder, weights.model)


def _remove_leftovers(folder: Path, model: str) -> None:
    for path in [*folder.glob(f"{model}.new*"), *folder.glob(f".{model}.new.*")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _export(weights: PaddleWeights, output: Path, say: Say) -> None:
    with _export_errors(weights.model):
        from instseg_trainer.runtime import prepare_cpu

        prepare_cpu()
        from instseg_export.exporter import ExportOptions, export_bundle

        say(f"{weights.model}: converting Paddle weights, once")
        options = ExportOptions(weights.model, weights.file or OFFICIAL, output)
        if weights.description is not None:
            options = _described(options, weights.description)
        export_bundle(options, say)


def _described(options: ExportOptions, description: Path) -> ExportOptions:
    """With the labels and the input size of PaddleX's `inference.yml`."""
    from instseg_export.trained import read_inference

    labels, image_size = read_inference(description, options.model)
    categories = [{"id": i, "name": name} for i, name in zip(labels.category_ids, labels.names, strict=True)]
    file = options.output.with_name(f"{options.output.name}.categories.json")
    file.write_text(json.dumps({"categories": categories}), encoding="utf-8")
    return replace(options, labels=file, image_size=image_size)


@contextmanager
def _export_errors(model: str) -> Iterator[None]:
    """Turns the export's errors into this package's."""
    try:
        yield
    except Error:
        raise
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"{model}: Paddle weights are converted by packages that are not installed ({error.name}): pip install "
            "'instseg-rt[export]', or give a bundle that `instseg export` made elsewhere as model_dir"
        ) from error
    except OSError as error:
        raise IoError(f"{model}: {error}") from error
    except Exception as error:
        if type(error).__module__ in _USER_ERRORS or isinstance(error, ValueError):
            raise InvalidArgumentError(" ".join(str(error).split())) from error
        raise
