"""Locks of files, which end with the process that holds them, however that ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from instseg_rt.errors import IoError

_WAIT_SECONDS = 0.2


def try_lock(file: IO[bytes], path: Path) -> bool:
    """Lock an open file until it is closed; False where another one has it locked, in this process or another.

    Raises `IoError` where files cannot be locked; `path` is for its message.
    """
    if sys.platform == "win32":
        raise IoError(f"{path}: this program locks files on Linux and macOS only")
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise IoError(f"{path}: cannot be locked ({error.strerror}): use a folder on a local disk") from error
    return True


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None]) -> Iterator[IO[bytes]]:
    """Hold the lock of `path`, a file that is for this alone and is made where it is missing.

    on_wait: called once where another process has it. Gives the open file: a process that inherits it has the lock too.
    Raises `IoError` where the file cannot be made or locked.
    """
    try:
        file = path.open("ab")
    except OSError as error:
        raise IoError(f"{path}: cannot be written: {error.strerror or error}") from error
    with file:
        if not try_lock(file, path):
            on_wait()
            while not try_lock(file, path):
                time.sleep(_WAIT_SECONDS)
        yield file
