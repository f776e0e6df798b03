"""Official weights from a local server: whole, interrupted, changed, refused."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from instseg_rt import file_download
from instseg_rt.errors import InvalidArgumentError, IoError
from instseg_rt.file_download import download_file, partial_path
from instseg_rt.models import find_model
from instseg_rt.official_weights import cache_folder, cached_weights, find_weights, official_weights

from .weights_server import BODY, WeightsServer

MODEL = "PP-YOLOE_seg-S"
FILE_NAME = f"{MODEL}_pretrained.pdparams"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WeightsServer]:
    instance = WeightsServer()
    threading.Thread(target=instance.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("INSTSEG_WEIGHTS_URL", instance.url)
    monkeypatch.setenv("INSTSEG_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    # Pauses between attempts are not what is tested.
    short = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, 0.02)))
    monkeypatch.setattr(file_download, "time", short)
    yield instance
    instance.hold.set()
    instance.shutdown()
    instance.server_close()


def target_in(cache: Path) -> Path:
    return cache / "weights" / FILE_NAME


def names(cache: Path) -> set[str]:
    return {path.name for path in (cache / "weights").iterdir()}


WHOLE = {FILE_NAME, f"{FILE_NAME}.sha256"}


def test_downloaded_once_with_its_checksum(server: WeightsServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = official_weights(MODEL, on_progress=lambda done, size: seen.append((done, size)))
    assert path == target_in(tmp_path)
    assert path.read_bytes() == BODY
    assert names(tmp_path) == WHOLE
    assert (tmp_path / "weights" / f"{FILE_NAME}.sha256").read_text() == (
        f"{hashlib.sha256(BODY).hexdigest()}  {FILE_NAME}\n"
    )
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)
    assert official_weights(MODEL) == path
    assert server.requests == [None]


def test_another_cache_folder(server: WeightsServer, tmp_path: Path) -> None:
    assert official_weights(MODEL, tmp_path / "other") == tmp_path / "other" / "weights" / FILE_NAME


def test_a_connection_that_ends_early_is_resumed(server: WeightsServer, tmp_path: Path) -> None:
    server.stop_after = [1_000_000, 500_000]
    assert official_weights(MODEL).read_bytes() == BODY
    assert server.requests == [None, "bytes=1000000-", "bytes=1500000-"]
    assert names(tmp_path) == WHOLE


def test_attempts_that_gain_something_are_not_counted(server: WeightsServer, tmp_path: Path) -> None:
    server.stop_after = [1_200_000, 1_200_000, 0, 0]
    with pytest.raises(IoError, match=f"ended after 2400000 of {len(BODY)} bytes"):
        download_file(server.url, tmp_path / "x", retry_seconds=(0.0,))
    assert len(server.requests) == 3
    download_file(server.url, tmp_path / "x", retry_seconds=(0.0,))
    assert (tmp_path / "x").read_bytes() == BODY


def test_a_server_without_ranges_sends_all_again(server: WeightsServer, tmp_path: Path) -> None:
    server.ranges = False
    server.stop_after = [1_000_000]
    assert official_weights(MODEL).read_bytes() == BODY
    assert server.requests == [None, "bytes=1000000-"]


def test_a_file_that_changed_between_the_parts_is_taken_anew(server: WeightsServer, tmp_path: Path) -> None:
    server.stop_after = [1_000_000] * 4
    server.ranges = False
    with pytest.raises(IoError, match="ended after 1000000 of"):
        official_weights(MODEL)
    server.ranges = True
    server.body = b"\x80\x02" + bytes(2_000_000)
    server.validators = {"ETag": '"two"'}
    assert official_weights(MODEL).read_bytes() == server.body


@pytest.mark.parametrize(
    ("validators", "resumed"),
    [
        ({"Last-Modified": "Thu, 24 Oct 2024 08:42:42 GMT"}, True),
        ({"ETag": 'W/"weak"', "Last-Modified": "Thu, 24 Oct 2024 08:42:42 GMT"}, True),
        ({"ETag": 'W/"weak"'}, False),
        ({"ETag": '"folded\r\n X-More: 1"'}, False),
        ({}, False),
    ],
)
def test_only_a_strong_validator_resumes(server: WeightsServer, validators: dict[str, str], resumed: bool) -> None:
    server.validators = validators
    server.stop_after = [1_000_000]
    assert official_weights(MODEL).read_bytes() == BODY
    assert server.requests == [None, "bytes=1000000-" if resumed else None]


def test_a_body_that_is_always_cut_is_an_error_and_never_a_file(server: WeightsServer, tmp_path: Path) -> None:
    server.ranges = False
    server.stop_after = [2_000_000] * 10
    with pytest.raises(IoError, match=rf"the connection ended after 2000000 of {len(BODY)} bytes; .*{FILE_NAME}"):
        official_weights(MODEL)
    assert len(server.requests) == 4
    assert not target_in(tmp_path).exists()
    assert cached_weights(MODEL).partial_size == 2_000_000


def test_transient_errors_are_tried_again(server: WeightsServer) -> None:
    server.statuses = [503, 429, 500]
    assert official_weights(MODEL).read_bytes() == BODY
    assert len(server.requests) == 4


@pytest.mark.parametrize(("status", "attempts"), [(404, 1), (403, 1), (503, 4)])
def test_errors_of_the_server(server: WeightsServer, tmp_path: Path, status: int, attempts: int) -> None:
    server.statuses = [status] * 10
    expected = rf"{server.url}/{FILE_NAME}: the server answered {status} .*put there by hand, as {target_in(tmp_path)}"
    with pytest.raises(IoError, match=expected):
        official_weights(MODEL)
    assert len(server.requests) == attempts
    assert not target_in(tmp_path).exists()


def test_a_range_that_cannot_be_satisfied_starts_anew(server: WeightsServer, tmp_path: Path) -> None:
    server.stop_after = [1_000_000] + [0] * 3
    with pytest.raises(IoError):
        official_weights(MODEL)
    server.statuses = [416]
    assert official_weights(MODEL).read_bytes() == BODY
    assert server.requests[-2:] == ["bytes=1000000-", None]


def test_offline(monkeypatch: pytest.MonkeyPatch, server: WeightsServer, tmp_path: Path) -> None:
    monkeypatch.setenv("INSTSEG_WEIGHTS_URL", "http://127.0.0.1:1/weights/")
    with pytest.raises(IoError) as caught:
        official_weights(MODEL)
    message = str(caught.value)
    assert message.startswith(f"http://127.0.0.1:1/weights/{FILE_NAME}: cannot be downloaded: ")
    assert message.endswith(f"put there by hand, as {target_in(tmp_path)}")
    assert "\n" not in message
    # What the message says to do works, and the file is watched from then on.
    target_in(tmp_path).write_bytes(BODY)
    assert official_weights(MODEL) == target_in(tmp_path)
    assert cached_weights(MODEL).sha256 == hashlib.sha256(BODY).hexdigest()


def test_a_file_that_changed_later_is_refused(server: WeightsServer, tmp_path: Path) -> None:
    path = official_weights(MODEL)
    changed = bytearray(BODY)
    changed[1000] ^= 1
    path.write_bytes(changed)
    with pytest.raises(IoError) as caught:
        official_weights(MODEL)
    for part in (str(path), hashlib.sha256(BODY).hexdigest(), hashlib.sha256(changed).hexdigest(), "delete it"):
        assert part in str(caught.value)
    path.unlink()
    assert official_weights(MODEL).read_bytes() == BODY
    (tmp_path / "weights" / f"{FILE_NAME}.sha256").write_text("nonsense")
    with pytest.raises(IoError, match=r"\.sha256: expected a sha256"):
        official_weights(MODEL)


def test_a_page_instead_of_weights_is_refused(server: WeightsServer, tmp_path: Path) -> None:
    server.body = b"<html>Please log in</html>"
    with pytest.raises(IoError, match=r"expected a file that begins with b'\\x80', found b'<'"):
        official_weights(MODEL)
    assert names(tmp_path) == set()


@pytest.mark.parametrize(("length", "found"), [("", "length not given"), ("many", "length many")])
def test_a_file_without_length_is_refused(server: WeightsServer, length: str, found: str) -> None:
    server.length = length
    with pytest.raises(IoError, match=found):
        official_weights(MODEL)


def test_an_empty_file_is_refused(server: WeightsServer) -> None:
    server.body = b""
    with pytest.raises(IoError, match=r"begins with b'\\x80', found b''"):
        find_weights("official", MODEL)


def test_a_malformed_address(monkeypatch: pytest.MonkeyPatch, server: WeightsServer) -> None:
    monkeypatch.setenv("INSTSEG_WEIGHTS_URL", "http://[broken")
    with pytest.raises(IoError, match="cannot be downloaded"):
        official_weights(MODEL)


def test_a_full_disk_is_noticed_before_the_download(
    server: WeightsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(file_download.shutil, "disk_usage", lambda _path: SimpleNamespace(free=1_000_000))
    with pytest.raises(IoError, match=r"weights: 3\.1 MB are needed, 1\.0 MB are free"):
        official_weights(MODEL)
    assert partial_path(target_in(tmp_path)).stat().st_size == 0


def test_a_folder_that_cannot_be_made(server: WeightsServer, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file")
    with pytest.raises(IoError, match="cannot be written"):
        official_weights(MODEL)


@pytest.mark.parametrize(
    ("location", "message"),
    [("ftp://127.0.0.1/x", "not an https address"), ("file:///etc/passwd", "not allowed"), ("/again", "302")],
)
def test_redirections_are_limited(server: WeightsServer, location: str, message: str) -> None:
    server.redirect = location
    with pytest.raises(IoError, match=message):
        official_weights(MODEL)
    assert len(server.requests) <= 6


def test_https_is_not_left() -> None:
    request = file_download.urllib.request.Request("https://a/b")
    for target, allowed in (("https://c/d", True), ("http://c/d", False)):
        redirections = file_download._Redirections("https://a/b")
        call = lambda: redirections.redirect_request(request, None, 302, "Found", {}, target)  # noqa: B023, E731
        if allowed:
            assert call().full_url == target
        else:
            with pytest.raises(IoError, match="redirected to http://c/d"):
                call()


@pytest.mark.parametrize("url", ["ftp://a/b", "file:///a", "a/b"])
def test_only_web_addresses(tmp_path: Path, url: str) -> None:
    with pytest.raises(IoError, match="not an http or https address"):
        download_file(url, tmp_path / "x")


def start_process() -> subprocess.Popen[str]:
    # Tests that run in the background of a shell have SIGINT ignored, and so would their children.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"from instseg_rt.official_weights import official_weights; print(official_weights({MODEL!r}))"
    )
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_ends_in_the_middle_leaves_a_part_to_go_on_from(
    server: WeightsServer, tmp_path: Path, ending: signal.Signals
) -> None:
    server.hold.clear()
    process = start_process()
    half = len(BODY) // 2
    wait_until(lambda: (cached_weights(MODEL).partial_size or 0) == half)
    process.send_signal(ending)
    _, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert ("KeyboardInterrupt" in err) is (ending == signal.SIGINT)
    assert not target_in(tmp_path).exists()
    server.hold.set()
    assert official_weights(MODEL).read_bytes() == BODY
    assert server.requests == [None, f"bytes={half}-"]
    assert names(tmp_path) == WHOLE


def test_processes_at_once_download_once(server: WeightsServer, tmp_path: Path) -> None:
    server.hold.clear()
    processes = [start_process() for _ in range(3)]
    waiting: list[int | None] = []
    thread = threading.Thread(
        target=official_weights, args=(MODEL,), kwargs={"on_progress": lambda _done, size: waiting.append(size)}
    )
    wait_until(lambda: (cached_weights(MODEL).partial_size or 0) == len(BODY) // 2)
    thread.start()
    wait_until(lambda: bool(waiting))
    server.hold.set()
    for process in processes:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out.strip(), err) == (0, str(target_in(tmp_path)), "")
    thread.join(30)
    assert set(waiting) == {None}
    assert server.requests == [None]
    assert target_in(tmp_path).read_bytes() == BODY
    assert names(tmp_path) == WHOLE


def test_a_waiting_process_takes_over_from_one_that_dies(server: WeightsServer, tmp_path: Path) -> None:
    server.hold.clear()
    process = start_process()
    wait_until(lambda: (cached_weights(MODEL).partial_size or 0) == len(BODY) // 2)
    waiting: list[int | None] = []
    thread = threading.Thread(
        target=official_weights, args=(MODEL,), kwargs={"on_progress": lambda _done, size: waiting.append(size)}
    )
    thread.start()
    wait_until(lambda: bool(waiting))
    server.hold.set()
    process.kill()
    process.communicate(timeout=30)
    thread.join(30)
    assert target_in(tmp_path).read_bytes() == BODY


def test_what_weights_may_be(server: WeightsServer, tmp_path: Path) -> None:
    assert find_weights("some/file.pdparams", MODEL) == Path("some/file.pdparams")
    assert find_weights(tmp_path, MODEL) == tmp_path
    lines: list[str] = []
    assert find_weights("official", MODEL, lines.append) == target_in(tmp_path)
    assert lines[0] == f"official weights of {MODEL}: 0.0 of 3.1 MB"
    assert lines[-1] == f"official weights of {MODEL}: 3.1 of 3.1 MB"
    assert len(lines) <= 11
    published = find_model(MODEL).weights
    assert published is not None
    assert find_weights(published, MODEL) == target_in(tmp_path)
    with pytest.raises(InvalidArgumentError, match=f"the weights of {MODEL}, not of SOLOv2"):
        find_weights(published, "SOLOv2")
    with pytest.raises(InvalidArgumentError, match=r"http://x/y: not the address of SOLOv2's official weights"):
        find_weights("http://x/y", "SOLOv2")
    assert server.requests == [None]


def test_models_without_official_weights(server: WeightsServer) -> None:
    with pytest.raises(InvalidArgumentError, match="PP-YOLOE_seg-N: no official weights are published"):
        official_weights("PP-YOLOE_seg-N")
    with pytest.raises(InvalidArgumentError, match=r"'SOLO2'; did you mean SOLOv2\?"):
        official_weights("SOLO2")


def test_base_address_of_the_environment(monkeypatch: pytest.MonkeyPatch, server: WeightsServer) -> None:
    monkeypatch.setenv("INSTSEG_WEIGHTS_URL", "file:///tmp")
    with pytest.raises(InvalidArgumentError, match="INSTSEG_WEIGHTS_URL: expected an http or https address"):
        official_weights(MODEL)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")
def test_default_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INSTSEG_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/instseg_rt")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder() == Path("/cache/instseg_rt")
    monkeypatch.setenv("INSTSEG_CACHE", "~/weights")
    assert cache_folder() == Path("/home/me/weights")
    assert os.environ["INSTSEG_CACHE"] == "~/weights"
