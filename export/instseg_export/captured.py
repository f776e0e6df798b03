"""What libraries write past Python onto the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def captured_output() -> Iterator[list[str]]:
    """Catches all that the process writes to stdout and stderr, also from C++. The list holds its lines afterwards."""
    lines: list[str] = []
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        with tempfile.TemporaryFile() as file:
            for descriptor in (1, 2):
                os.dup2(file.fileno(), descriptor)
            try:
                yield lines
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                for descriptor, original in zip((1, 2), saved, strict=True):
                    os.dup2(original, descriptor)
                file.seek(0)
                lines += file.read().decode(errors="replace").splitlines()
    finally:
        for original in saved:
            os.close(original)
