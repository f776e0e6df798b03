"""Large files from a web server: resumed, retried, by one process at a time, and seen under their name only when whole.

While a file comes, `.NAME.part` holds what has arrived and `.NAME.part.json` says of what; both outlive the process.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO

from instseg_rt.errors import IoError
from instseg_rt.file_lock import try_lock
from instseg_rt.files import write_atomically

OnProgress = Callable[[int, int | None], None]

TIMEOUT_SECONDS = 30.0
RETRY_SECONDS = (0.5, 1.0, 2.0)
_MAX_REDIRECTIONS = 5
_CHUNK_BYTES = 1 << 20
_WAIT_SECONDS = 0.2
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


def partial_path(target: Path) -> Path:
    """Where the part that has arrived is kept."""
    return target.with_name(f".{target.name}.part")


def download_file(
    url: str,
    target: Path,
    *,
    first_bytes: bytes = b"",
    before_rename: Callable[[Path], None] = lambda _whole: None,
    on_progress: OnProgress | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    retry_seconds: Sequence[float] = RETRY_SECONDS,
) -> bool:
    """Bring `url` to `target`; False where another process did so meanwhile.

    first_bytes: a file that begins otherwise is refused (a proxy's login page, say), and removed.
    before_rename: called with the whole file under its temporary name.
    on_progress: called with bytes so far and bytes in all (None: not known, another process is at it).
    timeout_seconds bounds each wait for the network; retry_seconds are the pauses before further attempts, counted
    anew after each mebibyte gained. An https address is followed to https addresses only.

    Raises `IoError`. Whatever ends the download, KeyboardInterrupt too, what has arrived stays, and the next call goes
    on from there if the server can and still has the same file.
    """
    if not url.lower().startswith(("https://", "http://")):
        raise IoError(f"{url}: not an http or https address")
    progress = on_progress or (lambda _done, _size: None)
    partial = partial_path(target)
    transfer = _Transfer(url, partial, partial.with_name(f"{partial.name}.json"), timeout_seconds, progress)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = _open_locked(partial, target, progress)
    except OSError as error:
        raise IoError(f"{partial}: cannot be written: {error.strerror or error}") from error
    if file is None:
        return False
    with file:
        transfer.run(file, retry_seconds)
        os.fsync(file.fileno())
        with partial.open("rb") as whole:
            found = whole.read(len(first_bytes))
        if found != first_bytes:
            transfer.remove()
            raise IoError(f"{url}: expected a file that begins with {first_bytes!r}, found {found!r}")
        before_rename(partial)
        partial.replace(target)
        transfer.state_path.unlink(missing_ok=True)
    return True


def _open_locked(partial: Path, target: Path, on_progress: OnProgress) -> IO[bytes] | None:
    """The partial file, open for appending and locked for this process; None where `target` has come meanwhile.

    The lock ends with the process, however that ends.
    """
    while True:
        file = partial.open("ab")
        try:
            while not try_lock(file, partial):
                on_progress(partial.stat().st_size if partial.exists() else 0, None)
                time.sleep(_WAIT_SECONDS)
            # The one that had the lock may have renamed or removed the file that was opened here.
            is_current = partial.exists() and os.path.samestat(os.fstat(file.fileno()), partial.stat())
            if is_current and not target.exists():
                return file
            if is_current:
                partial.unlink()
        except BaseException:
            file.close()
            raise
        file.close()
        if target.exists():
            return None


class _ConnectionLost(Exception):
    """Worth another attempt."""


@dataclass(frozen=True, slots=True)
class _State:
    """What the partial file is a part of. validator: ETag or Last-Modified, None where the server gave neither."""

    url: str
    validator: str | None
    size: int


class _Transfer:
    """Attempts to complete one partial file."""

    def __init__(self, url: str, partial: Path, state_path: Path, timeout_seconds: float, progress: OnProgress) -> None:
        self.url = url
        self.partial = partial
        self.state_path = state_path
        self.timeout_seconds = timeout_seconds
        self.progress = progress
        self.opener = urllib.request.build_opener(_Redirections(url))

    def run(self, file: IO[bytes], retry_seconds: Sequence[float]) -> None:
        """Attempt until the file is complete, or there are no more pauses left."""
        failures, most = 0, self._arrived(file)
        while True:
            try:
                return self._attempt(file)
            except urllib.error.HTTPError as error:
                error.close()
                reason = f"the server answered {error.code} {error.reason}"
                if error.code == 416:  # what is here is no beginning of what is there
                    file.truncate(0)
                elif error.code not in _TRANSIENT:
                    raise IoError(f"{self.url}: {reason}") from error
                failure: Exception = error
            except (_ConnectionLost, OSError, HTTPException) as error:
                reason = f"cannot be downloaded: {getattr(error, 'reason', None) or error or type(error).__name__}"
                failure = error
            except ValueError as error:  # a malformed address or header
                raise IoError(f"{self.url}: cannot be downloaded: {error}") from error
            arrived = self._arrived(file)
            if arrived >= most + _CHUNK_BYTES:
                failures, most = 0, arrived
            if failures == len(retry_seconds):
                raise IoError(f"{self.url}: {reason}") from failure
            time.sleep(retry_seconds[failures])
            failures += 1

    def remove(self) -> None:
        """Forget what has arrived."""
        self.partial.unlink()
        self.state_path.unlink(missing_ok=True)

    def _attempt(self, file: IO[bytes]) -> None:
        arrived, state = self._arrived(file), self._read_state()
        headers = {"User-Agent": "instseg-rt", "Accept-Encoding": "identity"}
        if arrived and state is not None:
            if arrived == state.size:
                return
            if arrived < state.size and state.validator:
                headers |= {"Range": f"bytes={arrived}-", "If-Range": state.validator}
        request = urllib.request.Request(self.url, headers=headers)
        with self.opener.open(request, timeout=self.timeout_seconds) as response:
            if response.status == 206 and state is not None:
                size = state.size
                if response.headers.get("Content-Range") != f"bytes {arrived}-{size - 1}/{size}":
                    file.truncate(0)
                    raise _ConnectionLost("the server sent another part than was asked for")
            else:
                file.truncate(0)
                size = self._begin(response)
            self._check_space(size - self._arrived(file))
            self._receive(response, file, size)

    def _begin(self, response: HTTPResponse) -> int:
        """Note what is going to come; its size in bytes."""
        length = response.headers.get("Content-Length", "")
        encoding = response.headers.get("Content-Encoding", "identity")
        if response.status != 200 or not length.isdigit() or encoding != "identity":
            raise IoError(
                f"{self.url}: expected a file with its length, found status {response.status}, "
                f"length {length or 'not given'}, encoding {encoding}"
            )
        etag = response.headers.get("ETag")
        # A weak tag says that two versions mean the same, not that their bytes are the same.
        validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
        # A folded header has line ends, which must not get into a request.
        state = _State(self.url, validator if validator and validator.isprintable() else None, int(length))
        write_atomically(self.state_path, json.dumps(dataclasses.asdict(state)).encode())
        return state.size

    def _receive(self, response: HTTPResponse, file: IO[bytes], size: int) -> None:
        arrived = self._arrived(file)
        self.progress(arrived, size)
        while chunk := response.read1(_CHUNK_BYTES):
            try:
                file.write(chunk)
                file.flush()
            except OSError as error:
                raise IoError(f"{self.partial}: cannot be written: {error.strerror or error}") from error
            arrived += len(chunk)
            self.progress(arrived, size)
        if arrived != size:
            raise _ConnectionLost(f"the connection ended after {arrived} of {size} bytes")

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.partial.parent).free
        if needed > free:
            raise IoError(f"{self.partial.parent}: {needed / 1e6:.1f} MB are needed, {free / 1e6:.1f} MB are free")

    def _read_state(self) -> _State | None:
        """None where there is none, or it is of another address."""
        try:
            state = _State(**json.loads(self.state_path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        return state if state.url == self.url and isinstance(state.size, int) else None

    @staticmethod
    def _arrived(file: IO[bytes]) -> int:
        return os.fstat(file.fileno()).st_size


class _Redirections(urllib.request.HTTPRedirectHandler):
    max_redirections = _MAX_REDIRECTIONS

    def __init__(self, url: str) -> None:
        self.schemes = re.compile("https://" if url.lower().startswith("https://") else "https?://", re.IGNORECASE)

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if not self.schemes.match(newurl):
            raise IoError(f"{req.full_url}: redirected to {newurl}, which is not an https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
