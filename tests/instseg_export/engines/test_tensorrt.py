"""Engines by full TensorRT, whose place a stand-in takes."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import onnx
import pytest
import yaml

pytest.importorskip("onnxruntime", reason="needs the [export] extra")

from instseg_export.cli import main
from instseg_export.engines import tensorrt_module
from instseg_export.engines.engine_file import read_key
from instseg_export.engines.gpu import NoGpu
from tests.instseg_export.engines import fake_tensorrt
from tests.tiny_bundle import write_tiny_bundle


@pytest.fixture(params=["10.13.3.9", "11.1.0.106"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """TensorRT of this version on a machine with a T4."""
    module = fake_tensorrt.fake_module(request.param)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(tensorrt_module.importlib.util, "find_spec", lambda _name: module)
    monkeypatch.setattr(tensorrt_module, "gpu_sm", lambda: 75)
    return request.param


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny.bundle")


def engines(bundle: Path) -> list[dict[str, object]]:
    return yaml.safe_load((bundle / "manifest.yaml").read_text())["stages"][0].get("engines", [])


def test_an_engine_for_the_gpu_of_this_machine(version: str, bundle: Path) -> None:
    assert main([str(bundle), "--backend", "tensorrt", "--workspace", "4GiB", "--raw-plan"]) == 0
    file = bundle / "engines" / f"model-tensorrt-{version}-sm75-fp32.engine"
    key = read_key(file)
    assert (key.backend, key.backend_version, key.sm, key.precision) == ("tensorrt", version, 75, "fp32")
    assert key.onnx_sha256 == key.source_sha256
    assert key.builder_options == {"strongly_typed": True, "tf32": False, "workspace_bytes": 4 << 30}
    assert key.profiles == [{"image": {"min": [1, 3, 64, 64], "opt": [1, 3, 64, 64], "max": [4, 3, 64, 64]}}]
    assert file.with_suffix(".plan").read_bytes() == b"plan of the fake"
    builder = fake_tensorrt.BUILDERS[-1]
    assert builder.network is not None and builder.config is not None
    assert builder.network.flags == (2 if version.startswith("10") else 0)
    assert builder.config.flags == set()
    assert builder.config.pool_limits == {fake_tensorrt.MemoryPoolType.WORKSPACE: 4 << 30}
    assert [entry["file"] for entry in engines(bundle)] == [f"engines/{file.name}"]
    assert engines(bundle)[0]["size"] == file.stat().st_size


def test_fp16_is_built_from_the_typed_stage(version: str, bundle: Path) -> None:
    assert main([str(bundle), "--backend", "tensorrt", "--target", "t4", "--precision", "fp16"]) == 0
    stage = yaml.safe_load((bundle / "manifest.yaml").read_text())["stages"][0]
    key = read_key(bundle / stage["engines"][0]["file"])
    assert key.onnx_sha256 == stage["typed"][0]["sha256"] != stage["sha256"] == key.source_sha256


@pytest.mark.usefixtures("version")
def test_what_is_there_is_kept(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(bundle), "--backend", "tensorrt", "--batch", "1,2,4"]
    assert main(arguments) == 0
    built = len(fake_tensorrt.BUILDERS)
    assert main(arguments) == 0
    assert "up to date" in capsys.readouterr().out
    assert len(fake_tensorrt.BUILDERS) == built
    assert main([*arguments, "--force"]) == 0
    assert main([*arguments[:-1], "1,1,4"]) == 0
    assert main([*arguments[:-1], "1,1,4", "--workspace", "2GiB"]) == 0
    assert len(fake_tensorrt.BUILDERS) == built + 3
    assert len(engines(bundle)) == 1


@pytest.mark.usefixtures("version")
def test_a_timing_cache_is_made_and_used(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "t4.cache"
    arguments = [str(bundle), "--backend", "tensorrt", "--timing-cache", str(cache), "--force"]
    assert main(arguments) == 0
    assert cache.read_bytes() == b"+measured"
    assert main(arguments) == 0
    assert cache.read_bytes() == b"+measured+measured"
    cache.write_bytes(b"other GPU")
    assert main(arguments) == 1
    assert "--timing-cache: the file is of another GPU or version" in capsys.readouterr().err


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "sm86"], "builds only for the GPU of this machine, which is sm_75"),
        (["--workspace", "1KiB"], "Error Code 10: Could not find any implementation for node {conv}"),
        (["--workspace", "many"], "expected a size like 4GiB"),
        (["--batch", "1,2,16"], "MAX <= 4, which is the bundle's largest batch; found 1,2,16"),
        (["--shapes", "picture=1,1,1"], "no input 'picture'"),
        (["--dataset", "x"], "--dataset: only with --precision fp16"),
        (["--opset", "18"], "--opset: "),
    ],
)
def test_errors_in_words(bundle: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main([str(bundle), "--backend", "tensorrt", *arguments]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "not a reason" not in error
    assert not engines(bundle)
    assert not list(bundle.glob("engines/*"))


@pytest.mark.usefixtures("version")
def test_a_machine_without_a_gpu(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_gpu() -> int:
        raise NoGpu("NVIDIA's driver is not there")

    monkeypatch.setattr(tensorrt_module, "gpu_sm", no_gpu)
    assert main([str(bundle), "--backend", "tensorrt"]) == 1
    assert "this machine has none: NVIDIA's driver is not there" in capsys.readouterr().err


def test_without_the_package(bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_module.importlib.util, "find_spec", lambda _name: None)
    assert main([str(bundle), "--backend", "tensorrt"]) == 1
    assert "pip install 'instseg-rt[tensorrt]'" in capsys.readouterr().err


@pytest.mark.usefixtures("version")
def test_a_graph_that_tensorrt_does_not_take(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = bundle / "stages" / "model.onnx"
    model = onnx.load(file)
    model.graph.node.insert(0, onnx.helper.make_node("GridSample", ["image", "grid"], ["unused"], name="sampling"))
    onnx.save(model, file)
    manifest = yaml.safe_load((bundle / "manifest.yaml").read_text())
    manifest["stages"][0]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (bundle / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    assert main([str(bundle), "--backend", "tensorrt"]) == 1
    assert "model.onnx: GridSample sampling: UNSUPPORTED_NODE" in capsys.readouterr().err


@pytest.mark.usefixtures("version")
def test_a_stage_that_was_changed_is_refused(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (bundle / "stages" / "model.onnx").open("ab") as stream:
        stream.write(b"more")
    assert main([str(bundle), "--backend", "tensorrt"]) == 1
    assert "damaged: its sha256 is not the manifest's" in capsys.readouterr().err
