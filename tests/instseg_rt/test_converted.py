"""Bundles made from Paddle weights: the cache, several processes, interruptions. The export is a stand-in here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import instseg_rt as rt
from instseg_rt import _core, converted
from instseg_rt.converted import PaddleWeights, converted_bundle
from instseg_rt.model_files import find_model_files

from ..tiny_bundle import write_tiny_bundle
from .weights_server import BODY, WeightsServer

MODEL = "PP-YOLOE_seg-S"
REPOSITORY = Path(__file__).parents[2]
INFERENCE = {
    "Global": {"model_name": MODEL},
    "Preprocess": [{"type": "Resize", "keep_ratio": False, "target_size": [480, 640]}],
    "label_list": ["apple", "pear"],
}


class FakeExport:
    """In place of instseg_export.exporter: writes the tiny bundle, and notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.labels: list[Any] = []
        self.error: BaseException | None = None

    def export_bundle(self, options: Any, say: Any) -> None:
        from instseg_rt.official_weights import find_weights

        self.asked.append(options)
        weights = find_weights(options.weights, options.model, say)
        assert weights.is_file()
        self.labels.append(options.labels and json.loads(options.labels.read_text()))
        temporary = options.output.with_name(f".{options.output.name}.{os.getpid()}.tmp")
        write_tiny_bundle(temporary)
        if self.error is not None:
            raise self.error
        manifest = yaml.safe_load((temporary / "manifest.yaml").read_text())
        (temporary / "manifest.yaml").write_text(yaml.safe_dump(manifest | {"model": options.model}))
        temporary.rename(options.output)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INSTSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def export(cache: Path, monkeypatch: pytest.MonkeyPatch) -> FakeExport:
    from dataclasses import make_dataclass

    fake = FakeExport()
    module = ModuleType("instseg_export.exporter")
    fields = ["model", "weights", "output", ("labels", Any, None), ("image_size", Any, None)]
    module.ExportOptions = make_dataclass("ExportOptions", fields)  # type: ignore[attr-defined]
    module.export_bundle = fake.export_bundle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "instseg_export.exporter", module)
    monkeypatch.setattr("instseg_trainer.runtime.prepare_cpu", lambda: None)
    return fake


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
    assert len(export.asked) == len(lines) == 1


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
    assert len(set(seen)) == len(seen) == len(export.asked)


def test_paddlex_description_in_another_place(export: FakeExport, weights: Path, tmp_path: Path) -> None:
    description = tmp_path / "inference.yml"
    description.write_text(yaml.safe_dump(INFERENCE))
    bundle = converted_bundle(PaddleWeights(MODEL, weights, description))
    assert export.labels == [{"categories": [{"id": 1, "name": "apple"}, {"id": 2, "name": "pear"}]}]
    assert export.asked[0].image_size == (480, 640)
    assert list(bundle.parent.glob("*.json")) == []
    description.write_text(yaml.safe_dump(INFERENCE | {"label_list": ["cat", "dog"]}))
    assert converted_bundle(PaddleWeights(MODEL, weights, description)) != bundle
    with pytest.raises(rt.InvalidArgumentError, match=f"the weights are of {MODEL}, not of SOLOv2"):
        converted_bundle(PaddleWeights("SOLOv2", weights, description))


def test_official_weights(export: FakeExport, server: WeightsServer, cache: Path) -> None:
    lines: list[str] = []
    bundle = converted_bundle(PaddleWeights(MODEL), lines.append)
    assert export.asked[0].weights == "official"
    assert lines[-1] == f"official weights of {MODEL}: {len(BODY) / 1e6:.1f} of {len(BODY) / 1e6:.1f} MB"
    assert converted_bundle(PaddleWeights(MODEL)) == bundle
    assert bundles(cache) == [bundle.name]
    assert (len(export.asked), len(server.requests)) == (1, 1)


def test_offline(export: FakeExport, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTSEG_WEIGHTS_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("instseg_rt.file_download.RETRY_SECONDS", ())
    monkeypatch.setattr("instseg_rt.file_download.time.sleep", lambda seconds: None)
    with pytest.raises(rt.IoError, match=r"cannot be downloaded: .*put there by hand, as .*_pretrained\.pdparams$"):
        rt.create_model(MODEL)
    assert bundles(cache) == []


def test_without_the_extra_nothing_is_downloaded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instseg_rt.official_weights.download_file", None)
    monkeypatch.delitem(sys.modules, "instseg_export.exporter", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        rt.UnsupportedError, match=r"not installed \(onnx\): pip install 'instseg-rt\[export\]', or give"
    ):
        rt.create_model(MODEL)
    assert bundles(cache) == []


def test_a_bundle_in_the_cache_needs_no_extra(
    export: FakeExport, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = converted_bundle(PaddleWeights(MODEL, weights))
    monkeypatch.setitem(sys.modules, "instseg_export.exporter", None)
    monkeypatch.setitem(sys.modules, "paddle", None)
    assert converted_bundle(PaddleWeights(MODEL, weights)) == bundle


class _Interruption(KeyboardInterrupt):
    pass


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (ValueError("no\nsuch"), rt.InvalidArgumentError, "^no such$"),
        (OSError(28, "No space left on device"), rt.IoError, "No space left"),
        (rt.IoError("the server"), rt.IoError, "^the server$"),
        (ModuleNotFoundError("x", name="paddle2onnx"), rt.UnsupportedError, r"\(paddle2onnx\): pip install"),
        (ZeroDivisionError("a fault"), ZeroDivisionError, "a fault"),
        (_Interruption(), _Interruption, "^$"),
    ],
)
def test_an_export_that_fails_leaves_nothing(
    export: FakeExport, cache: Path, weights: Path, error: BaseException, expected: type[BaseException], message: str
) -> None:
    export.error = error
    with pytest.raises(expected, match=message):
        converted_bundle(PaddleWeights(MODEL, weights))
    assert bundles(cache) == []
    export.error = None
    assert converted_bundle(PaddleWeights(MODEL, weights)).is_dir()


def test_the_exports_own_errors(export: FakeExport, weights: Path) -> None:
    from instseg_export.errors import ExportError

    export.error = ExportError("this version trains models of family x, but cannot export them")
    with pytest.raises(rt.InvalidArgumentError, match=r"^this version trains models of family x, but cannot export"):
        converted_bundle(PaddleWeights(MODEL, weights))


def test_a_folder_without_its_manifest_is_made_again(export: FakeExport, weights: Path) -> None:
    bundle = converted_bundle(PaddleWeights(MODEL, weights))
    (bundle / "manifest.yaml").unlink()
    assert converted_bundle(PaddleWeights(MODEL, weights)) == bundle
    assert _core.load_bundle(bundle).model == MODEL


def test_a_cache_that_cannot_be_written(export: FakeExport, weights: Path, cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(rt.IoError, match=r"bundles: cannot be written: .*; INSTSEG_CACHE names another"):
        converted_bundle(PaddleWeights(MODEL, weights))


# A process that converts, slowly; it says when it is at it.
PROCESS = """
import pathlib, sys, time, types
import instseg_trainer.runtime
from tests.instseg_rt.test_converted import FakeExport, MODEL
from dataclasses import make_dataclass
from instseg_rt.converted import PaddleWeights, converted_bundle
fake = FakeExport()
def export_bundle(options, say):
    print("converting", flush=True)
    if sys.argv[2] == "killed":
        (options.output.parent / f".{options.output.name}.1.tmp" / "stages").mkdir(parents=True)
        options.output.mkdir()
        time.sleep(100)
    time.sleep(1)
    fake.export_bundle(options, say)
module = types.ModuleType("instseg_export.exporter")
module.ExportOptions = make_dataclass("ExportOptions", ["model", "weights", "output", ("labels", object, None)])
module.export_bundle = export_bundle
sys.modules["instseg_export.exporter"] = module
instseg_trainer.runtime.prepare_cpu = lambda: None
print(converted_bundle(PaddleWeights(MODEL, pathlib.Path(sys.argv[1])), print), flush=True)
"""


def start(weights: Path, state: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, str(weights), state]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)


def test_two_processes_convert_once(cache: Path, weights: Path) -> None:
    outputs = [process.communicate(timeout=60)[0] for process in [start(weights, "slow") for _ in range(3)]]
    assert "".join(outputs).count("converting\n") == 1
    assert "".join(outputs).count("waiting for another process\n") <= 2
    assert len({output.splitlines()[-1] for output in outputs}) == 1
    assert len(bundles(cache)) == 1


def test_a_killed_process_is_no_obstacle(cache: Path, weights: Path, export: FakeExport) -> None:
    process = start(weights, "killed")
    assert process.stdout is not None
    while process.stdout.readline() != "converting\n":
        pass
    deadline = time.monotonic() + 30
    while len(bundles(cache)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    bundle = converted_bundle(PaddleWeights(MODEL, weights))
    assert bundles(cache) == [bundle.name]


def touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_files_of_a_bundle_and_of_trainings(tmp_path: Path, tiny_bundle: Path) -> None:
    assert find_model_files("tiny", tiny_bundle) == tiny_bundle
    assert find_model_files("PP-YOLOE_seg-N", None) == rt.default_bundle()
    assert find_model_files(MODEL, None) == PaddleWeights(MODEL)
    best = touch(tmp_path / "output/best_model/best_model.pdparams")
    description = touch(tmp_path / "output/best_model/inference/inference.yml")
    touch(tmp_path / "output/best_model/inference/inference.pdiparams")
    copy = touch(tmp_path / "output/best_model/best_model/model.pdparams")
    for folder in (best.parents[1], best.parent, best, description.parent):
        assert find_model_files(MODEL, folder) == PaddleWeights(MODEL, best)
        assert find_model_files(MODEL, str(folder)) == PaddleWeights(MODEL, best)
    assert find_model_files(MODEL, copy.parent) == PaddleWeights(MODEL, copy, description)
    plain = touch(tmp_path / "plain/model.pdparams")
    assert find_model_files(MODEL, plain.parent) == PaddleWeights(MODEL, plain)
    beside = touch(tmp_path / "plain/inference.yml")
    assert find_model_files(MODEL, plain.parent) == PaddleWeights(MODEL, plain, beside)


def test_an_inference_model_that_was_moved_within_its_training(tmp_path: Path) -> None:
    best = touch(tmp_path / "best_model.pdparams")
    description = touch(tmp_path / "exported/inference.yml")
    touch(tmp_path / "exported/inference.json")
    touch(tmp_path / "exported/inference.pdiparams")
    assert find_model_files(MODEL, tmp_path / "exported") == PaddleWeights(MODEL, best, description)


@pytest.mark.parametrize("name", ["inference.pdiparams", "inference.onnx"])
def test_an_inference_model_alone(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "inference" / name)
    with pytest.raises(rt.UnsupportedError, match=r"cannot be mapped back to the layers .* exactly; give .*official"):
        find_model_files(MODEL, tmp_path / "inference")


def test_folders_with_nothing(tmp_path: Path) -> None:
    with pytest.raises(rt.InvalidArgumentError, match=r"expected a bundle \(manifest.yaml\) or trained weights"):
        find_model_files(MODEL, tmp_path)
    with pytest.raises(rt.IoError, match="there is no such folder"):
        find_model_files(MODEL, tmp_path / "none")
    with pytest.raises(rt.IoError, match="found another file"):
        find_model_files(MODEL, touch(tmp_path / "a.txt"))


def test_unknown_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(rt.InvalidArgumentError, match=r"unknown model 'PP-YOLO_seg-S'; did you mean PP-YOLOE_seg-S\?"):
        find_model_files("PP-YOLO_seg-S", None)
    with pytest.raises(rt.InvalidArgumentError, match="is a folder, which model_dir takes"):
        find_model_files(str(tmp_path), None)
    with pytest.raises(rt.InvalidArgumentError, match="model_name: expected a name, found 3"):
        find_model_files(3, None)  # type: ignore[arg-type]
    monkeypatch.chdir(tmp_path)
    (tmp_path / MODEL).mkdir()
    assert find_model_files(MODEL, None) == PaddleWeights(MODEL)


def test_a_weights_file_that_is_gone(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(rt.IoError, match=r"gone\.pdparams: cannot be read"):
        converted.converted_bundle(PaddleWeights(MODEL, tmp_path / "gone.pdparams"))
