"""Bundles made from Paddle weights: the cache, several processes, interruptions. The export is a stand-in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import instseg_rt as rt
from instseg_rt import _core, converted
from instseg_rt.converted import PaddleWeights, converted_bundle

from .fake_export import FakeExport, use
from .weights_server import BODY, WeightsServer

MODEL = "PP-YOLOE_seg-S"
REPOSITORY = Path(__file__).parents[2]
INFERENCE = {
    "Global": {"model_name": MODEL},
    "Preprocess": [{"type": "Resize", "keep_ratio": False, "target_size": [480, 640]}],
    "label_list": ["apple", "pear"],
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INSTSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def export(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeExport:
    return use(tmp_path, monkeypatch)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "my.pdparams"
    file.write_bytes(b"some weights")
    return file


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightsServer]:
    instance = WeightsServer()
    threading.Thread(target=instance.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("INSTSEG_WEIGHTS_URL", instance.url)
    monkeypatch.setenv("no_proxy", "*")
    yield instance
    instance.shutdown()
    instance.server_close()


def bundles(cache: Path) -> list[str]:
    """What is in the cache beside the lock."""
    return sorted(path.name for path in (cache / "bundles").iterdir() if path.name != f".{MODEL}.lock")


def test_converted_once(export: FakeExport, cache: Path, weights: Path) -> None:
    lines: list[str] = []
    bundle = converted_bundle(PaddleWeights(MODEL, weights), lines.append)
    assert _core.load_bundle(bundle).model == MODEL
    assert bundles(cache) == [bundle.name]
    assert lines == [f"{MODEL}: converting Paddle weights, once"]
    assert converted_bundle(PaddleWeights(MODEL, weights), lines.append) == bundle
    other_place = weights.rename(weights.with_name("renamed.pdparams"))
    assert converted_bundle(PaddleWeights(MODEL, other_place)) == bundle
    assert len(export.calls) == len(lines) == 1


def test_what_a_bundle_depends_on(
    export: FakeExport, cache: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [converted_bundle(PaddleWeights(MODEL, weights))]
    weights.write_bytes(b"other weights")
    seen.append(converted_bundle(PaddleWeights(MODEL, weights)))
    (tmp_path / "categories.json").write_text("[]")  # of a training of ours
    seen.append(converted_bundle(PaddleWeights(MODEL, weights)))
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference" / "inference.yml").write_text("label_list: [a]")
    seen.append(converted_bundle(PaddleWeights(MODEL, weights)))
    monkeypatch.setattr(_core, "version", lambda: "99.0")
    seen.append(converted_bundle(PaddleWeights(MODEL, weights)))
    seen.append(converted_bundle(PaddleWeights("SOLOv2", weights)))
    assert len(set(seen)) == len(seen) == len(export.calls)


def test_paddlex_description_in_another_place(export: FakeExport, weights: Path, tmp_path: Path) -> None:
    description = tmp_path / "inference.yml"
    description.write_text(yaml.safe_dump(INFERENCE))
    bundle = converted_bundle(PaddleWeights(MODEL, weights, description))
    (call,) = export.calls
    assert call["labels"] == {"categories": [{"id": 1, "name": "apple"}, {"id": 2, "name": "pear"}]}
    assert call["size"] == [480, 640]
    assert list(bundle.parent.glob("*.json")) == []
    description.write_text(yaml.safe_dump(INFERENCE | {"label_list": ["cat", "dog"]}))
    assert converted_bundle(PaddleWeights(MODEL, weights, description)) != bundle
    with pytest.raises(rt.InvalidArgumentError, match=f"the weights are of {MODEL}, not of SOLOv2"):
        converted_bundle(PaddleWeights("SOLOv2", weights, description))


def test_official_weights(export: FakeExport, server: WeightsServer, cache: Path) -> None:
    lines: list[str] = []
    bundle = converted_bundle(PaddleWeights(MODEL), lines.append)
    assert export.calls[0]["weights"] == "official"
    assert lines[-1] == f"official weights of {MODEL}: {len(BODY) / 1e6:.1f} of {len(BODY) / 1e6:.1f} MB"
    assert converted_bundle(PaddleWeights(MODEL)) == bundle
    assert bundles(cache) == [bundle.name]
    assert (len(export.calls), len(server.requests)) == (1, 1)


def test_offline(export: FakeExport, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTSEG_WEIGHTS_URL", "http://127.0.0.1:1")
    with pytest.raises(rt.IoError, match=r"cannot be downloaded: .*put there by hand, as .*_pretrained\.pdparams$"):
        rt.create_model(MODEL)
    assert bundles(cache) == []


def test_without_the_extra_nothing_is_downloaded(export: FakeExport, server: WeightsServer, cache: Path) -> None:
    export.behave("without onnx")
    with pytest.raises(
        rt.UnsupportedError, match=r"not installed \(onnx\): pip install 'instseg-rt\[export\]', or give"
    ):
        rt.create_model(MODEL)
    assert (bundles(cache), server.requests) == ([], [])


def test_a_bundle_in_the_cache_needs_no_extra(export: FakeExport, weights: Path) -> None:
    bundle = converted_bundle(PaddleWeights(MODEL, weights))
    export.behave("without onnx")
    assert converted_bundle(PaddleWeights(MODEL, weights)) == bundle


@pytest.mark.parametrize(
    ("how", "expected", "message"),
    [
        ("ExportError", rt.InvalidArgumentError, "^this version cannot export models of family x$"),
        ("ValueError", rt.InvalidArgumentError, "^no such$"),
        ("OSError", rt.IoError, "No space left"),
        ("IoError", rt.IoError, "^the server$"),
        ("missing package", rt.UnsupportedError, r"\(paddle2onnx\): pip install"),
        ("fault", rt.InternalError, f"^{MODEL}: the conversion failed: ZeroDivisionError: a fault$"),
        ("crash", rt.InternalError, f"^{MODEL}: the conversion ended with code -6: .*the last words$"),
    ],
)
def test_an_export_that_fails_leaves_nothing(
    export: FakeExport, cache: Path, weights: Path, how: str, expected: type[rt.Error], message: str
) -> None:
    export.behave(how)
    with pytest.raises(expected, match=message):
        converted_bundle(PaddleWeights(MODEL, weights))
    assert bundles(cache) == []
    export.behave("well")
    assert converted_bundle(PaddleWeights(MODEL, weights)).is_dir()


def test_an_interruption_ends_the_conversion(export: FakeExport, cache: Path, weights: Path) -> None:
    export.behave("sleep 100")

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        converted_bundle(PaddleWeights(MODEL, weights), interrupt)
    assert bundles(cache) == []
    export.behave("well")
    assert converted_bundle(PaddleWeights(MODEL, weights)).is_dir()


def test_no_python_program(export: FakeExport, cache: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(rt.UnsupportedError, match="`instseg export`"):
        converted_bundle(PaddleWeights(MODEL, weights))
    assert bundles(cache) == []


def test_paddle_stays_out_of_this_process(export: FakeExport, weights: Path) -> None:
    script = f"""
import pathlib, sys
from instseg_rt.converted import PaddleWeights, converted_bundle
del sys.modules["instseg_export.exporter"]
converted_bundle(PaddleWeights({MODEL!r}, pathlib.Path({str(weights)!r})))
print([name for name in ("paddle", "onnx", "instseg_export.exporter") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_folder_without_its_manifest_is_made_again(export: FakeExport, weights: Path) -> None:
    bundle = converted_bundle(PaddleWeights(MODEL, weights))
    (bundle / "manifest.yaml").unlink()
    assert converted_bundle(PaddleWeights(MODEL, weights)) == bundle
    assert _core.load_bundle(bundle).model == MODEL


def test_a_cache_that_cannot_be_written(export: FakeExport, weights: Path, cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(rt.IoError, match=r"bundles: cannot be written: .*; INSTSEG_CACHE names another"):
        converted_bundle(PaddleWeights(MODEL, weights))


def start(weights: Path) -> subprocess.Popen[str]:
    """A process that converts, and the one that it starts for that, in a group of their own."""
    script = f"""
import pathlib
from instseg_rt.converted import PaddleWeights, converted_bundle
print(converted_bundle(PaddleWeights({MODEL!r}, pathlib.Path({str(weights)!r})), lambda line: print(line, flush=True)))
"""
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_several_processes_convert_once(export: FakeExport, cache: Path, weights: Path) -> None:
    export.behave("sleep 1")
    outputs = [process.communicate(timeout=60)[0] for process in [start(weights) for _ in range(3)]]
    assert len(export.calls) == 1
    assert "".join(outputs).count("waiting for another process\n") == 2
    assert len({output.splitlines()[-1] for output in outputs}) == 1
    assert len(bundles(cache)) == 1


def test_killed_processes_are_no_obstacle(export: FakeExport, cache: Path, weights: Path) -> None:
    export.behave("sleep 100")
    process = start(weights)
    wait_for(lambda: len(export.calls) == 1 and bundles(cache) != [])
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    assert len(bundles(cache)) == 1
    export.behave("well")
    bundle = converted_bundle(PaddleWeights(MODEL, weights))
    assert bundles(cache) == [bundle.name]


def test_a_conversion_that_outlives_its_parent_is_waited_for(export: FakeExport, cache: Path, weights: Path) -> None:
    export.behave("sleep 2")
    process = start(weights)
    wait_for(lambda: len(export.calls) == 1)
    process.kill()
    process.wait(timeout=30)
    export.behave("well")
    lines: list[str] = []
    bundle = converted_bundle(PaddleWeights(MODEL, weights), lines.append)
    assert lines[0] == f"{MODEL}: waiting for another process"
    assert bundles(cache) == [bundle.name]


def test_a_weights_file_that_is_gone(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(rt.IoError, match=r"gone\.pdparams: cannot be read"):
        converted.converted_bundle(PaddleWeights(MODEL, tmp_path / "gone.pdparams"))
