"""Images from http and https addresses, into memory."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from http.client import HTTPException

from instseg_rt.errors import IoError

TIMEOUT_SECONDS = 30.0
MAX_DOWNLOAD_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 20


def is_url(text: str) -> bool:
    """Whether the text is an http or https address."""
    return text.lower().startswith(("http://", "https://"))


def download(url: str, *, timeout_seconds: float = TIMEOUT_SECONDS, max_bytes: int = MAX_DOWNLOAD_BYTES) -> bytes:
    """The body of a GET request.

    `timeout_seconds` bounds each wait for the network and the whole transfer, `max_bytes` the body.
    Raises `IoError` with the address: refused, not found, too slow, too large.
    """
    deadline = time.monotonic() + timeout_seconds
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "instseg-rt"})
        with urllib.request.urlopen(request, timeout=timeout_seconds) as response:
            if not is_url(response.url):
                raise IoError(f"{url}: redirected to {response.url}, which is not an http or https address")
            body = bytearray()
            # read1 returns what has come, so that a server that drips bytes meets the deadline.
            while chunk := response.read1(_CHUNK_BYTES):
                body += chunk
                if len(body) > max_bytes:
                    raise IoError(f"{url}: more than the limit of {max_bytes} bytes: download it and give the file")
                if time.monotonic() > deadline:
                    raise IoError(f"{url}: not complete after {timeout_seconds:g} s: download it and give the file")
            if response.length:
                raise IoError(f"{url}: the connection ended {response.length} bytes before the end")
    except urllib.error.HTTPError as error:
        raise IoError(f"{url}: the server answered {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise IoError(f"{url}: cannot be downloaded: {getattr(error, 'reason', None) or error}") from error
    return bytes(body)
