"""Images from a web server, and servers that misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from instseg_rt.download import download, is_url
from instseg_rt.errors import IoError
from instseg_rt.sources import read_sources

IMAGE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
PNG = cv2.imencode(".png", IMAGE)[1].tobytes()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path.split("?")[0]:
            case "/ok.png":
                self.answer(PNG)
            case "/page.html":
                self.answer(b"<html>not an image</html>")
            case "/short":
                self.answer(PNG, length=len(PNG) + 10)
            case "/to-file":
                self.send_response(302)
                self.send_header("Location", "file:///etc/passwd")
                self.end_headers()
            case "/slow":
                self.send_response(200)
                self.end_headers()
                for _ in range(50):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(0.05)
            case _:
                self.send_error(404)

    def answer(self, body: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    instance = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=instance.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{instance.server_port}"
    instance.shutdown()
    instance.server_close()


def test_image_from_a_url(server: str) -> None:
    url = f"{server}/ok.png?size=large"
    (source,) = read_sources(url)
    np.testing.assert_array_equal(source.image, IMAGE)
    assert source.input_path == url


def test_server_errors(server: str) -> None:
    with pytest.raises(IoError, match=r"/nothing\.png: the server answered 404"):
        list(read_sources(f"{server}/nothing.png"))
    with pytest.raises(IoError, match=r"page\.html: not an image"):
        list(read_sources(f"{server}/page.html"))
    with pytest.raises(IoError, match="10 bytes before the end"):
        download(f"{server}/short")


def test_limits(server: str) -> None:
    with pytest.raises(IoError, match="more than the limit of 20 bytes"):
        download(f"{server}/ok.png", max_bytes=20)
    start = time.monotonic()
    with pytest.raises(IoError, match=r"not complete after 0\.3 s"):
        download(f"{server}/slow", timeout_seconds=0.3)
    assert time.monotonic() - start < 2


def test_redirects_stay_on_the_web(server: str) -> None:
    with pytest.raises(IoError, match="to-file"):
        download(f"{server}/to-file")


def test_unreachable_and_malformed_addresses() -> None:
    with pytest.raises(IoError, match="cannot be downloaded"):
        download("http://127.0.0.1:1/a.png", timeout_seconds=2)
    with pytest.raises(IoError, match="cannot be downloaded"):
        download("http://[broken/a.png")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("http://x/y", True), ("HTTPS://x", True), ("ftp://x", False), ("C:/x.png", False), ("a.png", False)],
)
def test_what_is_a_url(text: str, expected: bool) -> None:
    assert is_url(text) is expected
