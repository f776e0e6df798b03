"""Bundles made from Paddle weights: converted once, and kept in the cache folder.

The cache has a folder `bundles` with one bundle for each model, weights, description beside the weights, and version of
this package. What another process converts is waited for; what was interrupted leaves nothing that looks like a bundle.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from instseg_rt import _core
from instseg_rt.embedded import MANIFEST_NAME
from instseg_rt.errors import Error, InternalError, IoError, UnsupportedError
from instseg_rt.file_lock import exclusive
from instseg_rt.files import file_sha256
from instseg_rt.official_weights import cache_folder, cached_weights

Say = Callable[[str], None]

# The line that starts Paddle's own report of a crash.
_CRASH_REPORT = "C++ Traceback (most recent call last)"


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
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    waiting = f"{weights.model}: waiting for another process"
    with exclusive(folder / f".{weights.model}.lock", lambda: say(waiting)) as lock:
        found = _cached(folder, weights)
        return found if found is not None else _convert(folder, weights, lock, say)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
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


def _convert(folder: Path, weights: PaddleWeights, lock: IO[bytes], say: Say) -> Path:
    """With the lock: nobody else is at this model, and what is unfinished is nobody's."""
    _remove_leftovers(folder, weights.model)
    new = folder / f"{weights.model}.new"
    try:
        _run_conversion(weights, new, lock, say)
        target = _target(folder, weights)
        if target is None:
            raise IoError(f"{weights.model}: the official weights are gone from the cache: try again")
        shutil.rmtree(target, ignore_errors=True)  # without its manifest, or it would have been found
        with _writing(folder):
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


def _run_conversion(weights: PaddleWeights, output: Path, lock: IO[bytes], say: Say) -> None:
    """`instseg_rt.conversion.convert`, in a process of its own (see there), which inherits the lock: should this one be
    killed, the other one is still alone.
    """
    if not sys.executable:
        raise UnsupportedError(
            f"{weights.model}: Paddle weights are converted by a Python program, which this process does not know "
            "(sys.executable is empty): convert them with `instseg export`, and give the bundle as model_dir"
        )
    request = json.dumps({**asdict(weights), "output": output}, default=os.fspath)
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as reports, tempfile.TemporaryFile() as printed:  # noqa: PTH123
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "instseg_rt.conversion", str(writing), request],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                pass_fds=(writing, lock.fileno()),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        finally:
            os.close(writing)
        try:
            error = _follow(reports, say)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        if error is None and code != 0:
            printed.seek(0)
            last = _last_words(printed.read().decode(errors="replace"))
            error = InternalError(f"{weights.model}: the conversion ended with code {code}: {last}")
    if error is not None:
        raise error


def _last_words(printed: str) -> str:
    """The last two lines that say something, above Paddle's report of a crash: that one ends with the signal."""
    said = printed.partition(_CRASH_REPORT)[0]
    lines = [words for line in said.splitlines() if (words := line.strip(" -"))]
    return " ".join(lines[-2:])


def _follow(reports: Iterable[str], say: Say) -> Error | None:
    """Say what is reported; the error at its end."""
    error = None
    for report in reports:
        kind, text = json.loads(report)
        if kind == "say":
            say(text)
        else:
            error = next((cls for cls in Error.__subclasses__() if cls.code == kind), Error)(text)
    return error
