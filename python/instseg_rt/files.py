"""Reading and writing whole files, with errors of one line."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from instseg_rt.errors import IoError


def read_bytes(path: Path) -> bytes:
    """The content of a file; `IoError` with its name when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise IoError(f"{path}: cannot be read: {error.strerror or error}") from error


def file_sha256(path: Path) -> str:
    """The sha256 of a file's content; `IoError` with its name when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise IoError(f"{path}: cannot be read: {error.strerror or error}") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, making its folders; a reader sees the old file or the whole new one.

    Raises `IoError` (naming the path) when the folder or the file cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise IoError(f"{path}: cannot be written: {error.strerror or error}") from error
