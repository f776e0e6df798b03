"""Engines by TensorRT-RTX, which builds on a machine without a GPU."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
import yaml
from onnx import TensorProto, helper

trt = pytest.importorskip("tensorrt_rtx", reason="needs the [rtx] extra")
pytest.importorskip("onnxruntime", reason="needs the [export] extra")

from instseg_export.cli import main
from instseg_export.engines.builder import build_plan
from instseg_export.engines.bundle_engines import EngineOptions, build_engines
from instseg_export.engines.engine_file import read_key
from instseg_export.engines.progress import BuildProgress
from instseg_export.engines.tensorrt_module import BuilderOptions, TensorRT
from instseg_export.errors import ExportError
from instseg_export.precision.typed_stages import example_images, write_typed_stages
from instseg_rt.models import find_model
from tests.long_tests import with_long_ones
from tests.reference_kit import EXPORTED_MODELS, OTHER_MODELS
from tests.tiny_bundle import write_tiny_bundle

FEW_SHAPES = {"image": ((1, 3, 320, 320), (1, 3, 320, 448), (1, 3, 448, 448))}
"""Of images of any size: smaller than usual, for the time that a build takes."""


@pytest.fixture(scope="module")
def tensorrt() -> TensorRT:
    return TensorRT("tensorrt-rtx")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny.bundle")


def quiet() -> BuildProgress:
    return BuildProgress(lambda _share, _phase: None)


@pytest.mark.parametrize(("target", "precision"), [("sm86", "fp32"), ("t4", "fp16"), ("sm120", "fp16")])
def test_a_small_bundle(bundle: Path, tensorrt: TensorRT, target: str, precision: str) -> None:
    arguments = [str(bundle), "--backend", "tensorrt-rtx", "--target", target, "--precision", precision, "--raw-plan"]
    assert main(arguments) == 0
    stage = yaml.safe_load((bundle / "manifest.yaml").read_text())["stages"][0]
    (entry,) = stage["engines"]
    file = bundle / entry["file"]
    key = read_key(file)
    assert (key.backend, key.backend_version, key.precision) == ("tensorrt_rtx", tensorrt.version, precision)
    assert f"sm{key.sm}" == ("sm75" if target == "t4" else target)
    data = file.read_bytes()
    header = json.loads(data[16 : 16 + int.from_bytes(data[8:16], "little")])
    plan = file.with_suffix(".plan").read_bytes()
    assert plan == data[-header["plan_bytes"] :]
    assert b"ptrt" in plan[:256] or b"trt" in plan[:256]  # TensorRT's own mark
    assert main(arguments) == 0
    assert file.read_bytes() == data


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "t4"], "no float32 matrix products for sm75 (T4): use --precision fp16, or build with full"),
        (["--target", "sm90", "--precision", "fp16"], "builds for sm75, sm80, sm86"),
        (["--target", "sm86", "--timing-cache", "x"], "measures nothing while it builds"),
        ([], "--target is missing"),
    ],
)
def test_what_it_cannot_build(
    bundle: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main([str(bundle), "--backend", "tensorrt-rtx", *arguments]) == 1
    assert said in capsys.readouterr().err
    assert not (bundle / "engines").exists()
    assert len(list((bundle / "stages").iterdir())) == 1


def test_a_build_that_is_stopped_leaves_nothing(bundle: Path, tensorrt: TensorRT) -> None:
    progress = quiet()
    progress.stopped.set()
    shapes = {"image": ((1, 3, 64, 64),) * 3}
    with pytest.raises(KeyboardInterrupt):
        build_plan(tensorrt, bundle / "stages/model.onnx", 86, "fp32", shapes, BuilderOptions(), progress)


def test_an_engine_of_the_wrong_precision_is_refused(bundle: Path, tensorrt: TensorRT) -> None:
    shapes = {"image": ((1, 3, 64, 64),) * 3}
    with pytest.raises(ExportError, match=r"FP16 was asked for, but \d of \d products are not in FP16"):
        build_plan(tensorrt, bundle / "stages/model.onnx", 86, "fp16", shapes, BuilderOptions(), quiet())


def test_what_tensorrt_says_of_a_graph_is_told(tmp_path: Path, tensorrt: TensorRT) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")]
    node = helper.make_node("Unheard", ["x"], ["y"], name="strange node", domain="of.nobody")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("of.nobody", 1)]
    model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:]), opset_imports=opsets)
    onnx.save(model, tmp_path / "strange.onnx")
    with pytest.raises(ExportError, match=r"strange\.onnx: Unheard strange node: "):
        build_plan(tensorrt, tmp_path / "strange.onnx", 86, "fp32", {}, BuilderOptions(), quiet())


@pytest.fixture(scope="module")
def typed_bundle_of(
    seeded_bundle_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Path]]:
    """A model's name -> its seeded bundle with FP16 stages."""
    folder = tmp_path_factory.mktemp("typed")

    def make(model: str) -> Path:
        bundle = folder / f"{model}.bundle"
        if not bundle.exists():
            shutil.copytree(seeded_bundle_of(model), bundle)
            write_typed_stages(bundle, lambda _line: None, example_images(1))
        return bundle

    yield make
    shutil.rmtree(folder)


SMALL_MODELS = ("PP-YOLOE_seg-S",)
LARGE_MODELS = (*(model for model in EXPORTED_MODELS if model not in SMALL_MODELS), *OTHER_MODELS)


@pytest.mark.slow
@pytest.mark.parametrize("model", with_long_ones(SMALL_MODELS, LARGE_MODELS))
def test_every_model_builds(typed_bundle_of: Callable[[str], Path], tensorrt: TensorRT, model: str) -> None:
    bundle = typed_bundle_of(model)
    shapes = {} if find_model(model).resize == "stretch" else FEW_SHAPES
    for sm, precision in ((75, "fp16"), (86, "fp16"), (86, "fp32")):
        options = EngineOptions(sm, precision, batch=(1, 1, 2), shapes=shapes)
        reports = list(build_engines(bundle, tensorrt, options, lambda _line: None))
        assert len(reports) == len(find_model(model).stages)
        for report in reports:
            half, full = report.products.get("HALF", 0), report.products.get("FLOAT", 0)
            assert half > 5 * full if precision == "fp16" else half == 0 < full
            # Most of an engine are the weights.
            weights = bundle / "stages" / f"{report.stage}{'.fp16' if precision == 'fp16' else ''}.onnx"
            assert report.bytes > 0.5 * weights.stat().st_size


def test_a_machine_that_only_builds_needs_neither_paddle_nor_onnx(bundle: Path) -> None:
    """Where the FP16 stages are there already."""
    assert main([str(bundle), "--precision", "fp16"]) == 0
    code = """
import sys
sys.modules |= dict.fromkeys(("paddle", "paddle2onnx", "onnx", "onnxruntime", "onnxslim", "instseg_trainer"))
from instseg_export.cli import main
sys.exit(main([sys.argv[1], "--backend", "tensorrt-rtx", "--target", "t4", "--precision", "fp16"]))
"""
    done = subprocess.run([sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list((bundle / "engines").glob("*.engine"))) == 1
