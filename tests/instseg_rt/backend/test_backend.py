"""Backends written in Python: registered, and run."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import instseg_rt as rt
from instseg_rt import _core
from instseg_rt._core import StageSpec
from instseg_rt.backend import SessionOptions, TensorInfo
from instseg_rt.predictor import Predictor
from instseg_rt.result import Result

from ...tiny_bundle import SIDE
from .scripted import NAME, Arrays, Script, tiny_network


def assert_same(found: Result, expected: Result) -> None:
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)
    np.testing.assert_array_equal(found.masks, expected.masks)


def test_gives_what_a_plugin_gives(predictor: Predictor, tiny_bundle: Path, colored_image: np.ndarray) -> None:
    expected = Predictor(tiny_bundle, threads=1)
    images = [colored_image, colored_image[:, ::-1], colored_image[::2]]
    assert len(expected(colored_image)) == 3
    for batch_size in (1, 3):
        found = list(predictor.predict(images, batch_size))
        for result, image in zip(found, images, strict=True):
            assert_same(result, expected(image))
    assert predictor.backend == "scripted 1.5"


def test_what_the_factory_is_given(script: Script, tiny_bundle: Path, open_stages: dict[str, StageSpec]) -> None:
    Predictor(tiny_bundle, backend=NAME, threads=3, contexts=2, precision="bf16", device="CUDA:1")
    expected = SessionOptions("gpu:1", "bf16", threads=3, contexts=2, leading_batch=True)
    assert script.made == [(tiny_bundle / "stages/model.onnx", expected)]
    script.inputs = lambda: [TensorInfo("values", "float32", (None, 5))]
    script.outputs = lambda: [TensorInfo("indices", "int64", (2, None))]
    _core.StageSession(open_stages["select"], backend=NAME)
    assert script.made[1][1] == SessionOptions("cpu", "fp32", threads=None, contexts=1, leading_batch=True)
    script.inputs = lambda: [TensorInfo("image", "float32", (None, 3, None, None))]
    script.outputs = lambda: [TensorInfo("features", "float32", (None, 4, None, None))]
    _core.StageSession(open_stages["features"], backend=NAME)
    assert script.made[2][1].leading_batch is False


def unaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    result = memory.view(array.dtype).reshape(array.shape)
    result[:] = array
    assert not result.flags.aligned
    return result


@pytest.mark.parametrize(
    "form",
    [
        dict,
        lambda outputs: dict(reversed(outputs.items())),
        lambda outputs: list(outputs.values()),
        lambda outputs: tuple(outputs.values()),
        lambda outputs: {name: np.asfortranarray(array) for name, array in outputs.items()},
        lambda outputs: {name: np.repeat(array, 2, axis=-1)[..., ::2] for name, array in outputs.items()},
        lambda outputs: {name: unaligned(array) for name, array in outputs.items()},
    ],
)
def test_forms_of_outputs(
    script: Script, tiny_bundle: Path, colored_image: np.ndarray, form: Callable[[Arrays], Any]
) -> None:
    expected = Predictor(tiny_bundle, backend=NAME)(colored_image)
    script.run = lambda inputs: form(tiny_network(inputs))
    assert_same(Predictor(tiny_bundle, backend=NAME)(colored_image), expected)


def test_inputs_are_views_that_cannot_be_written_to(
    script: Script, predictor: Predictor, colored_image: np.ndarray
) -> None:
    seen: list[tuple[bool, bool, tuple[int, ...]]] = []

    def run(inputs: Arrays) -> Arrays:
        image = inputs["image"]
        seen.append((image.flags.writeable, image.flags.owndata, image.shape))
        return tiny_network(inputs)

    script.run = run
    predictor(colored_image)
    assert seen == [(False, False, (1, 3, SIDE, SIDE))]


def test_an_input_that_is_kept(script: Script, predictor: Predictor, colored_image: np.ndarray) -> None:
    """Also as a view, or in the dictionary; garbage in a cycle is none of these."""
    kept: list[Any] = []

    def keep(item: Callable[[Arrays], Any]) -> Callable[[Arrays], Arrays]:
        def run(inputs: Arrays) -> Arrays:
            kept.append(item(inputs))
            return tiny_network(inputs)

        return run

    for item in (lambda inputs: inputs, lambda inputs: inputs["image"], lambda inputs: inputs["image"][0, ::2].T):
        script.run = keep(item)
        with pytest.raises(rt.BackendError, match=r"keeps an input.*: keep a copy"):
            predictor(colored_image)
        kept.clear()
    script.run = keep(lambda inputs: inputs["image"].copy())
    assert len(predictor(colored_image)) == 3

    def cycle(inputs: Arrays) -> Arrays:
        ring: list[Any] = [inputs["image"]]
        ring.append(ring)
        return tiny_network(inputs)

    script.run = cycle
    assert len(predictor(colored_image)) == 3


def test_an_exception_does_not_keep_the_inputs(script: Script, predictor: Predictor, colored_image: np.ndarray) -> None:
    """Its frames would show memory that is gone to whoever looks at their variables."""
    seen: list[weakref.ref[np.ndarray]] = []

    def run(inputs: Arrays) -> Arrays:
        image = inputs["image"]
        seen.append(weakref.ref(image))
        raise ValueError

    script.run = run
    with pytest.raises(rt.BackendError):
        predictor(colored_image)
    assert seen[0]() is None


def test_an_input_as_an_output(script: Script, tiny_bundle: Path) -> None:
    image = np.random.default_rng(0).random((2, 3, SIDE, SIDE), np.float32)
    script.run = lambda inputs: (
        tiny_network(inputs) | {"prototypes": inputs["image"].reshape(-1)[:1536].reshape(2, 3, 16, 16)}
    )
    expected = image.reshape(-1)[:1536].reshape(2, 3, 16, 16)
    stage = _core.StageSession(_core.load_bundle(tiny_bundle).stages[0], backend=NAME)
    np.testing.assert_array_equal(stage.run({"image": image})["prototypes"], expected)


@pytest.fixture
def box_head(script: Script, open_stages: dict[str, StageSpec]) -> _core.StageSession:
    script.inputs = lambda: [TensorInfo("regions", "float32", (None, 4, 7, 7))]
    script.outputs = lambda: [TensorInfo("multiples", "float32", (None, 12)), TensorInfo("means", "float32", (None, 4))]

    def run(inputs: Arrays) -> list[np.ndarray]:
        means = inputs["regions"].mean(axis=(2, 3))
        return [means[:, 3:] * np.arange(1, 13, dtype=np.float32), means]

    script.run = run
    return _core.StageSession(open_stages["box_head"], backend=NAME)


def test_sizes_that_differ_from_run_to_run(box_head: _core.StageSession, script: Script) -> None:
    run, calls = script.run, []
    script.run = lambda inputs: calls.append(1) or run(inputs)
    for rois in (3, 1, 200, 3, 0):
        regions = np.random.default_rng(rois).random((rois, 4, 7, 7), np.float32)
        found = box_head.run({"regions": regions})
        np.testing.assert_allclose(found["means"], regions.mean(axis=(2, 3)).reshape(rois, 4), rtol=1e-6)
        np.testing.assert_allclose(found["multiples"][:, 11], 12 * found["means"][:, 3], rtol=1e-6)
    assert len(calls) == 4  # nothing to compute without a region


def test_inputs_of_a_stage_are_checked(box_head: _core.StageSession) -> None:
    with pytest.raises(rt.InvalidArgumentError, match="needs a numpy array for its input 'regions'"):
        box_head.run({})
    with pytest.raises(rt.InvalidArgumentError, match=r"takes float32 for its input 'regions', found .* float64"):
        box_head.run({"regions": np.zeros((1, 4, 7, 7))})
    with pytest.raises(rt.Error, match=r"\[1, 4, 7, 8\]"):
        box_head.run({"regions": np.zeros((1, 4, 7, 8), np.float32)})


def test_an_open_size_that_the_manifest_excludes(box_head: _core.StageSession, script: Script) -> None:
    run = script.run
    script.run = lambda inputs: [array[1:] for array in run(inputs)]
    with pytest.raises(rt.BadBundleError, match="'rois' is 5 in input 'regions'"):
        box_head.run({"regions": np.zeros((5, 4, 7, 7), np.float32)})


def test_many_threads(script: Script, tiny_bundle: Path, colored_image: np.ndarray) -> None:
    """Calls overlap: each waits for another one inside `run`."""
    both = threading.Barrier(2, timeout=60)
    images = [np.roll(colored_image, 16 * shift, axis=1) for shift in range(6)]

    def run(inputs: Arrays) -> Arrays:
        both.wait()
        return tiny_network(inputs)

    with Predictor(tiny_bundle, threads=1) as plugin:
        expected = [plugin(image) for image in images]
    script.run = run
    with Predictor(tiny_bundle, backend=NAME, contexts=2, threads=1) as predictor, ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda index: predictor(images[index % 6]), range(60)))
    for index, result in enumerate(found):
        assert_same(result, expected[index % 6])


def test_sessions_end_with_their_predictor(script: Script, tiny_bundle: Path, colored_image: np.ndarray) -> None:
    predictor = Predictor(tiny_bundle, backend=NAME, contexts=2)
    result = predictor(colored_image)
    assert script.sessions[0]() is not None
    predictor.close()
    assert script.sessions[0]() is None
    assert len(result) == 3


EXIT_SCRIPT = """
import sys, threading, time
import numpy as np
import instseg_rt as rt
from tests.instseg_rt.backend.scripted import Script, tiny_network
from instseg_rt.backend import register_backend
script = Script()
class Announced:
    def __del__(self):
        print("released")
script.announced = Announced()
register_backend("exit", script.factory)
predictor = rt.Predictor(sys.argv[1], backend="exit", threads=1)
image = np.zeros((64, 64, 3), np.uint8)
predictor(image)
if sys.argv[2] == "thread":
    inside = threading.Event()
    def slow(inputs):
        inside.set()
        time.sleep(0.001)
        return tiny_network(inputs)
    script.run = slow
    def forever():
        while True:
            predictor(image)
    threading.Thread(target=forever, daemon=True).start()
    inside.wait()
print("end")
"""


@pytest.mark.parametrize("state", ["quiet", "thread"])
def test_the_interpreter_ends(tiny_bundle: Path, state: str) -> None:
    """With a predictor that is still there, and with a thread that is inside it."""
    command = [sys.executable, "-c", EXIT_SCRIPT, str(tiny_bundle), state]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=root)
    assert (done.returncode, done.stderr, done.stdout.splitlines()[0]) == (0, "", "end")
