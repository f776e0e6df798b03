"""A web server for one file, which misbehaves as it is told to."""

from __future__ import annotations

import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY = b"\x80\x02" + random.Random(0).randbytes(3_100_000)  # begins like a pickle


class WeightsServer(ThreadingHTTPServer):
    """Serves one body at every path; the fields say how it misbehaves. `requests` are the Range headers, or None."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = BODY
        self.validators: dict[str, str] = {"ETag": '"one"'}
        self.ranges = True
        self.stop_after: list[int] = []  # bytes after which the connection of each request ends
        self.statuses: list[int] = []  # instead of an answer
        self.redirect: str | None = None
        self.length: str | None = None  # Content-Length, "" for none
        self.hold = threading.Event()  # not set: half of the body is sent, the rest when it is set
        self.hold.set()
        self.requests: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: WeightsServer

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        if server.statuses:
            return self.send_error(server.statuses.pop(0))
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            return self.end_headers()
        current = set(server.validators.values())
        start = 0
        if wanted and server.ranges and self.headers.get("If-Range") in current:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = server.body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        length = str(len(body)) if server.length is None else server.length
        if length:
            self.send_header("Content-Length", length)
        for name, value in server.validators.items():
            self.send_header(name, value)
        self.end_headers()
        self.send_body(body)

    def send_body(self, body: bytes) -> None:
        end = self.server.stop_after.pop(0) if self.server.stop_after else len(body)
        half = min(end, len(body) // 2)
        try:
            self.wfile.write(body[:half])
            self.wfile.flush()
            self.server.hold.wait(30)
            self.wfile.write(body[half:end])
        except OSError:  # the client was killed
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass
