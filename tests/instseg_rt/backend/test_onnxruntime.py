"""The backend `onnxruntime`: the same results as the plug-in's, and what it says where it cannot run."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="needs the [onnxruntime] extra")

import instseg_rt as rt
from instseg_rt import _core
from instseg_rt._core import StageSpec
from instseg_rt.backend import SessionOptions, onnxruntime
from instseg_rt.backend.onnxruntime import OnnxRuntimeSession
from instseg_rt.predictor import Predictor
from instseg_rt.result import Result
from instseg_rt.scenes import render_scene

from ...family_bundles import WRITERS

CPU = SessionOptions("cpu", "fp32", threads=1, contexts=1, leading_batch=True)


def assert_same(found: Result, expected: Result) -> None:
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    for mask, other in zip(found.masks, expected.masks, strict=True):
        assert (mask & other).sum() >= 0.999 * (mask | other).sum()


def compare(bundle: Path, images: list[np.ndarray], threshold: float) -> int:
    """Single images and batches of several sizes; returns the number of detections."""
    with (
        Predictor(bundle, precision="fp32", threads=2) as plugin,
        Predictor(bundle, backend="onnxruntime", threads=2) as other,
    ):
        assert other.backend.startswith("onnxruntime 1.")
        count = 0
        for batch_size in (1, 2, 3):
            expected = list(plugin.predict(images, batch_size, threshold))
            for found, result in zip(other.predict(images, batch_size, threshold), expected, strict=True):
                assert_same(found, result)
            count += sum(map(len, expected))
    return count


def test_tiny_bundle(tiny_bundle: Path, colored_image: np.ndarray) -> None:
    images = [colored_image, colored_image[:, ::-1], colored_image[::2]]
    assert compare(tiny_bundle, images, 0.2) == 3 * 3 * 4


def test_embedded_bundle() -> None:
    scenes = [render_scene(seed, 320, 320).image[:, :, ::-1] for seed in range(3)]
    assert compare(rt.default_bundle(), scenes, 0.3) >= 20


@pytest.mark.parametrize("name", WRITERS)
def test_every_family(name: str, tmp_path: Path) -> None:
    """Among them stages with open sizes, and without any RoI."""
    scenes = [render_scene(seed, *size).image for seed, size in enumerate([(64, 70), (181, 117), (97, 131)])]
    bundle = WRITERS[name](tmp_path / "family.bundle")
    assert compare(bundle, [*scenes, np.zeros((30, 40, 3), np.uint8)], 0.05) > 3


@pytest.mark.parametrize("seed", range(3))
def test_stages_with_open_sizes(open_stages: dict[str, StageSpec], seed: int) -> None:
    random = np.random.default_rng(seed)
    inputs: dict[str, list[tuple[int, ...]]] = {
        "features": [(1, 3, 32, 48), (2, 3, 16, 16), (1, 3, 32, 48)],
        "box_head": [(3, 4, 7, 7), (0, 4, 7, 7), (1000, 4, 7, 7), (1, 4, 7, 7)],
        "select": [(1, 5), (4, 5), (2, 5)],
    }
    for name, shapes in inputs.items():
        plugin = _core.StageSession(open_stages[name], threads=1)
        rt.backend.prepare_backend("onnxruntime")
        other = _core.StageSession(open_stages[name], backend="onnxruntime", threads=1)
        for shape in shapes:
            values = {open_stages[name].inputs[0].name: random.random(shape, np.float32).round(0 if seed else 7)}
            expected, found = plugin.run(values), other.run(values)
            assert found.keys() == expected.keys()
            for output, array in expected.items():
                assert found[output].dtype == array.dtype
                np.testing.assert_allclose(found[output], array, atol=1e-5)


def test_nothing_found_is_an_output(open_stages: dict[str, StageSpec]) -> None:
    rt.backend.prepare_backend("onnxruntime")
    stage = _core.StageSession(open_stages["select"], backend="onnxruntime")
    assert stage.run({"values": np.zeros((3, 5), np.float32)})["indices"].shape == (2, 0)


def test_many_threads(tiny_bundle: Path, colored_image: np.ndarray) -> None:
    images = [np.roll(colored_image, 16 * shift, axis=1) for shift in range(6)]
    with (
        Predictor(tiny_bundle, backend="onnxruntime", contexts=3, threads=1) as predictor,
        ThreadPoolExecutor(6) as pool,
    ):
        expected = [predictor(image) for image in images]
        for index, result in enumerate(pool.map(lambda index: predictor(images[index % 6]), range(60))):
            assert_same(result, expected[index % 6])


def test_nothing_is_copied(tiny_bundle: Path) -> None:
    """ONNX Runtime reads the input where it is, and its outputs are its own memory."""
    session = OnnxRuntimeSession(tiny_bundle / "stages/model.onnx", CPU)
    image = np.zeros((1, 3, 64, 64), np.float32)
    image.flags.writeable = False
    outputs = session.run({"image": image})
    assert [output.name for output in session.outputs()] == ["boxes", "scores", "mask_coefficients", "prototypes"]
    assert [array.flags.owndata for array in outputs] == [False] * 4


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (3, 3), (None, 0)])
def test_threads(tiny_bundle: Path, threads: int | None, expected: int) -> None:
    options = SessionOptions("cpu", "fp32", threads=threads, contexts=1, leading_batch=True)
    session = OnnxRuntimeSession(tiny_bundle / "stages/model.onnx", options)
    assert session._session.get_session_options().intra_op_num_threads == expected
    assert session._session.get_providers() == ["CPUExecutionProvider"]


def test_other_precisions(tiny_bundle: Path) -> None:
    with pytest.raises(
        rt.UnsupportedError, match=r"onnxruntime cannot load stage 'model' .*precision 'bf16': .*'fp32'"
    ):
        Predictor(tiny_bundle, backend="onnxruntime", precision="bf16")


def test_a_gpu_that_this_build_does_not_have(tiny_bundle: Path) -> None:
    import onnxruntime as library

    if "CUDAExecutionProvider" in library.get_available_providers():
        pytest.skip("this build has one")
    with pytest.raises(
        rt.UnsupportedError, match=r"device 'gpu:0': .* no CUDAExec.*CPUExecutionProvider.*onnxruntime-gpu"
    ):
        Predictor(tiny_bundle, backend="onnxruntime", device="cuda")


class FakeLibrary(SimpleNamespace):
    """ONNX Runtime with other providers: `available` of the build, `working` of what was asked for."""

    def __init__(self, available: list[str], working: bool = True) -> None:
        import onnxruntime as library

        def create(path: str, options: Any, providers: list[tuple[str, dict[str, int]]]) -> Any:
            self.asked = providers
            used = [name for name, _ in providers if working]
            return SimpleNamespace(
                get_providers=lambda: [*used, "CPUExecutionProvider"], get_inputs=list, get_outputs=list
            )

        super().__init__(
            get_available_providers=lambda: available,
            SessionOptions=library.SessionOptions,
            capi=library.capi,
            InferenceSession=create,
        )


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        (["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"], "CUDAExecutionProvider"),
        (["TensorrtExecutionProvider", "CPUExecutionProvider"], "TensorrtExecutionProvider"),
    ],
)
def test_gpu_providers(monkeypatch: pytest.MonkeyPatch, available: list[str], expected: str) -> None:
    options = SessionOptions("gpu:1", "fp32", threads=None, contexts=1, leading_batch=True)
    library = FakeLibrary(available)
    monkeypatch.setattr(onnxruntime, "_import", lambda: library)
    OnnxRuntimeSession(Path("x.onnx"), options)
    assert library.asked == [(expected, {"device_id": 1})]
    monkeypatch.setattr(onnxruntime, "_import", lambda: FakeLibrary(available, working=False))
    with pytest.raises(rt.UnsupportedError, match=f"'gpu:1': {expected} of the installed ONNX Runtime cannot be used"):
        OnnxRuntimeSession(Path("x.onnx"), options)


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x08"])
def test_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(rt.BadBundleError) as caught:
        OnnxRuntimeSession(path, CPU)
    assert "\n" not in str(caught.value)


def test_inputs_that_the_graph_refuses(tiny_bundle: Path) -> None:
    session = OnnxRuntimeSession(tiny_bundle / "stages/model.onnx", CPU)
    with pytest.raises(rt.BackendError, match="image"):
        session.run({"image": np.zeros((1, 3, 64, 63), np.float32)})


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(rt.UnsupportedError, match=r"needs ONNX Runtime .*pip install 'instseg-rt\[onnxruntime\]'"):
        onnxruntime.version()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert onnxruntime.installed_version() is None


LAZY = """
import json, sys, instseg_rt as rt
rt.Predictor(sys.argv[1])
listed = next(entry for entry in rt.backends() if entry["name"] == "onnxruntime")
before = "onnxruntime" in sys.modules
used = rt.Predictor(sys.argv[1], backend="onnxruntime").backend
names = [entry["name"] for entry in rt.backends()]
print(json.dumps([listed, before, "onnxruntime" in sys.modules, used, names]))
"""


def test_imported_only_when_asked_for(tiny_bundle: Path) -> None:
    command = [sys.executable, "-c", LAZY, str(tiny_bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    listed, before, after, used, names = json.loads(done.stdout)
    assert (before, after) == (False, True)
    assert (listed["available"], listed["path"], listed["error"]) == (True, None, None)
    assert used == f"onnxruntime {listed['version']}"
    assert names == ["openvino", "onnxruntime"]
