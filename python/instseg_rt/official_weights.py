"""PaddleX's own weights: found in the cache folder, or downloaded to it once."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from instseg_rt.download import is_url
from instseg_rt.errors import InvalidArgumentError, IoError
from instseg_rt.file_download import OnProgress, download_file, partial_path
from instseg_rt.files import file_sha256, read_bytes, write_atomically
from instseg_rt.models import find_model, model_rows

OFFICIAL = "official"
CACHE_VARIABLE = "INSTSEG_CACHE"
BASE_URL_VARIABLE = "INSTSEG_WEIGHTS_URL"
_PICKLE_START = b"\x80"


@dataclass(frozen=True, slots=True)
class CachedWeights:
    """What the cache has of a model's official weights.

    size: bytes of the whole file, None where it is not there; partial_size: bytes of an unfinished download.
    sha256: as recorded at the first download or use.
    """

    path: Path
    size: int | None
    partial_size: int | None
    sha256: str | None


def cache_folder() -> Path:
    """`INSTSEG_CACHE`, else `instseg_rt` in the user's cache folder (`~/.cache` on Linux)."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "instseg_rt"


def official_weights(name: str, cache: Path | None = None, on_progress: OnProgress | None = None) -> Path:
    """The `.pdparams` of PaddleX's weights of a model, downloaded where the cache does not have it yet.

    cache: instead of `cache_folder()`. on_progress: see `download_file`.
    The checksum is recorded beside the file when it first comes, and checked at every later call.

    Raises `InvalidArgumentError` for an unknown model or one without official weights; `IoError` where the file
    cannot be downloaded (with its address, and the path where it can be put by hand) or has changed.
    """
    target, url = _target(name, cache), _url(name)
    if not target.is_file():
        try:
            if download_file(
                url,
                target,
                first_bytes=_PICKLE_START,
                before_rename=lambda whole: _record(whole, target),
                on_progress=on_progress,
            ):
                return target
        except IoError as error:
            raise IoError(f"{error}; the file can also be put there by hand, as {target}") from error
    _check(target)
    return target


def cached_weights(name: str, cache: Path | None = None) -> CachedWeights:
    """What the cache has of a model's official weights; downloads and checks nothing."""
    target = _target(name, cache)
    partial = partial_path(target)
    return CachedWeights(
        target,
        target.stat().st_size if target.is_file() else None,
        partial.stat().st_size if partial.is_file() else None,
        _recorded(target),
    )


def find_weights(given: str | os.PathLike[str], model: str, say: Callable[[str], None] = lambda _line: None) -> Path:
    """The path that a user's `weights` means: a path as it is; `official` and the address of the model's official
    weights mean the downloaded file.

    say: gets a line when a download starts, and after each tenth of it. Raises as `official_weights` does, and
    `InvalidArgumentError` for another address.
    """
    text = os.fspath(given)
    if text != OFFICIAL and not is_url(text):
        return Path(text)
    published = find_model(model).weights
    if text not in (OFFICIAL, published):
        owner = next((row.model for row in model_rows() if row.weights == text), None)
        if owner is not None:
            raise InvalidArgumentError(f"{text}: the weights of {owner}, not of {model}")
        raise InvalidArgumentError(
            f"{text}: not the address of {model}'s official weights ({published or 'none are published'}): "
            "download the file and give its path"
        )
    return official_weights(model, on_progress=_spoken(model, say))


def _target(name: str, cache: Path | None) -> Path:
    return (cache or cache_folder()).absolute() / "weights" / f"{find_model(name).model}_pretrained.pdparams"


def _url(name: str) -> str:
    published = find_model(name).weights
    if published is None:
        raise InvalidArgumentError(f"{name}: no official weights are published: train it with `instseg train`")
    base = os.environ.get(BASE_URL_VARIABLE)
    if not base:
        return published
    if not is_url(base):
        raise InvalidArgumentError(f"{BASE_URL_VARIABLE}: expected an http or https address, found {base!r}")
    return f"{base.rstrip('/')}/{published.rpartition('/')[2]}"


def _spoken(model: str, say: Callable[[str], None]) -> OnProgress:
    """A progress that says a line per tenth."""
    said = -1

    def on_progress(done: int, size: int | None) -> None:
        nonlocal said
        if size is None:
            if said < 0:
                say(f"official weights of {model}: waiting for another process that downloads them")
                said = 0
        elif size and done * 10 // size > said:
            said = done * 10 // size
            say(f"official weights of {model}: {done / 1e6:.1f} of {size / 1e6:.1f} MB")

    return on_progress


def _checksum_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _record(file: Path, target: Path) -> None:
    """Write the checksum of `file` beside `target`, as `sha256sum --check` reads it."""
    write_atomically(_checksum_path(target), f"{file_sha256(file)}  {target.name}\n".encode())


def _recorded(target: Path) -> str | None:
    path = _checksum_path(target)
    if not path.exists():
        return None
    match = re.match(rb"[0-9a-f]{64}\b", read_bytes(path))
    if match is None:
        raise IoError(f"{path}: expected a sha256, found something else: delete this file")
    return match.group().decode()


def _check(target: Path) -> None:
    """Compare with the recorded checksum; a file that was put there by hand gets one."""
    expected = _recorded(target)
    if expected is None:
        return _record(target, target)
    found = file_sha256(target)
    if found != expected:
        raise IoError(
            f"{target}: the file has changed: expected sha256 {expected}, found {found}: delete it to download it "
            f"again, or delete {_checksum_path(target).name} to keep it"
        )
