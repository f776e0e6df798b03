"""Backends written in Python: registered, run, and wrong in every way."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import instseg_rt as rt
from instseg_rt import _core, backend
from instseg_rt._core import StageSpec
from instseg_rt.backend import SessionOptions, TensorInfo, explain_missing, register_backend
from instseg_rt.predictor import Predictor
from instseg_rt.result import Result

from ..tiny_bundle import ANCHORS, CELL, OUTPUT_SHAPES, PROTOTYPE_STRIDE, SIDE, cell_boxes

Arrays = dict[str, np.ndarray]
NAME = "scripted"


def tiny_network(inputs: Arrays) -> Arrays:
    """The graph of tests/tiny_bundle.py, by hand."""

    def contrast(pixels: int) -> np.ndarray:
        image = inputs["image"].reshape(-1, 3, SIDE // pixels, pixels, SIDE // pixels, pixels)
        return np.einsum("oc,bcyx->boyx", 1.5 * np.eye(3) - 0.5, image.mean(axis=(3, 5)))

    cells = contrast(CELL).reshape(-1, 3, ANCHORS)
    outputs = {
        "boxes": np.broadcast_to(cell_boxes(), (len(cells), ANCHORS, 4)),
        "scores": 1 / (1 + np.exp(-10 * (cells - 0.5))),
        "mask_coefficients": np.maximum(cells, 0),
        "prototypes": 10 * (contrast(PROTOTYPE_STRIDE) - 0.5),
    }
    return {name: np.asarray(value, np.float32) for name, value in outputs.items()}


class Script:
    """A session that does what a test tells it to; the defaults are the tiny network."""

    def __init__(self) -> None:
        self.made: list[tuple[Path, SessionOptions]] = []
        self.sessions: list[weakref.ref[Any]] = []
        self.create: Callable[[], None] = lambda: None
        self.inputs: Callable[[], Any] = lambda: [TensorInfo("image", "float32", (None, 3, SIDE, SIDE))]
        self.outputs: Callable[[], Any] = lambda: [
            TensorInfo(name, "float32", (None, *shape)) for name, shape in OUTPUT_SHAPES.items()
        ]
        self.run: Callable[[Arrays], Any] = tiny_network

    def factory(self, path: Path, options: SessionOptions) -> backend.Session:
        self.create()
        self.made.append((path, options))

        session = ScriptedSession(self)
        self.sessions.append(weakref.ref(session))
        return session


class ScriptedSession:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.inputs, self.outputs = script.inputs, script.outputs

    def run(self, inputs: Arrays) -> Any:
        return self.script.run(inputs)


_script = SimpleNamespace(current=Script())


def scripted(path: Path, options: SessionOptions) -> backend.Session:
    return _script.current.factory(path, options)


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    """Once per process: a name cannot be given back."""
    register_backend(NAME, scripted, version="1.5")


@pytest.fixture
def script() -> Script:
    _script.current = Script()
    return _script.current


@pytest.fixture
def predictor(script: Script, tiny_bundle: Path) -> Iterator[Predictor]:
    with Predictor(tiny_bundle, backend=NAME, threads=1) as instance:
        yield instance


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


def change(name: str, change_array: Callable[[np.ndarray], Any]) -> Callable[[Arrays], Any]:
    return lambda inputs: {
        key: change_array(array) if key == name else array for key, array in tiny_network(inputs).items()
    }


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (change("boxes", lambda a: a[:, :3]), r"output 'boxes' as \(1, 3, 4\) float32, outputs\(\) says \(\?, 16, 4\)"),
        (change("boxes", lambda a: a[0]), r"'boxes' as \(16, 4\) float32"),
        (change("scores", lambda a: a.astype(np.float64)), r"'scores' as \(1, 3, 16\) float64, .* float32"),
        (change("scores", lambda a: a.astype(">f4")), "'scores' as .* >f4"),
        (change("scores", lambda a: a.tolist()), "'scores' as list"),
        (change("scores", lambda a: None), "'scores' as NoneType"),
        (change("boxes", lambda a: np.concatenate([a, a])), r"'boxes' has shape \[2, 16, 4\].*'batch' is 1"),
        (lambda inputs: None, r"run\(\) returned NoneType, expected a dict by name"),
        (lambda inputs: tiny_network(inputs)["boxes"], r"run\(\) returned ndarray, expected a dict"),
        (lambda inputs: list(tiny_network(inputs).values())[:3], r"returned 3 arrays, outputs\(\) has 4"),
        (
            lambda inputs: {name.upper(): array for name, array in tiny_network(inputs).items()},
            "returned no output 'boxes'",
        ),
    ],
)
def test_wrong_outputs(
    script: Script, predictor: Predictor, colored_image: np.ndarray, run: Callable[[Arrays], Any], message: str
) -> None:
    script.run = run
    with pytest.raises(rt.BadBundleError, match=message) as caught:
        predictor(colored_image)
    assert "\n" not in str(caught.value)
    script.run = tiny_network
    assert len(predictor(colored_image)) == 3


def raising(error: BaseException) -> Callable[..., Any]:
    def run(*_: object) -> Any:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "expected", "message"),
    [
        (ValueError("two\nlines"), rt.BackendError, "scripted cannot run stage 'model' .*: ValueError: two lines$"),
        (KeyError(), rt.BackendError, ": KeyError$"),
        (MemoryError("all of it"), rt.OutOfMemoryError, "MemoryError: all of it"),
        (rt.UnsupportedError("not here"), rt.UnsupportedError, ": not here$"),
        (rt.InvalidArgumentError("so not"), rt.InvalidArgumentError, ": so not$"),
        (rt.BackendError("broken"), rt.BackendError, "broken$"),
        (ValueError("ä" * 3000), rt.BackendError, "ää$"),
    ],
)
def test_exceptions(
    script: Script,
    predictor: Predictor,
    colored_image: np.ndarray,
    error: Exception,
    expected: type[rt.Error],
    message: str,
) -> None:
    script.run = raising(error)
    with pytest.raises(expected, match=message) as caught:
        predictor(colored_image)
    assert type(caught.value) is expected
    assert caught.value.__cause__ is error
    assert error.__traceback__ is not None
    script.run = tiny_network
    assert len(predictor(colored_image)) == 3
    with pytest.raises(rt.InvalidArgumentError, match="threshold") as other:
        predictor.predict([colored_image], threshold=2)
    assert other.value.__cause__ is None


def test_an_exception_that_cannot_be_printed(script: Script, predictor: Predictor, colored_image: np.ndarray) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    script.run = raising(Unprintable())
    with pytest.raises(rt.BackendError, match="Unprintable"):
        predictor(colored_image)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_what_is_no_error_passes_through(
    script: Script, predictor: Predictor, colored_image: np.ndarray, error: BaseException
) -> None:
    script.run = raising(error)
    with pytest.raises(type(error)) as caught:
        predictor(colored_image)
    assert caught.value is error
    script.run = tiny_network
    assert len(predictor(colored_image)) == 3


@pytest.mark.parametrize(
    ("attribute", "value", "expected", "message"),
    [
        ("create", raising(rt.UnsupportedError("no such device")), rt.UnsupportedError, "cannot load .*no such device"),
        ("create", raising(OSError("gone")), rt.BackendError, "cannot load stage 'model' .*: OSError: gone"),
        ("create", raising(KeyboardInterrupt()), KeyboardInterrupt, "^$"),
        ("inputs", lambda: None, rt.BackendError, "TypeError"),
        ("inputs", lambda: ["image"], rt.BackendError, r"inputs\(\): expected a TensorInfo, found 'image'"),
        ("inputs", lambda: [], rt.BadBundleError, "the manifest's input 'image' is not in the graph"),
        (
            "outputs",
            lambda: [TensorInfo("boxes", "float64", (None, 4))],
            rt.BadBundleError,
            r"outputs\(\): tensor 'boxes' is float64, which no stage",
        ),
        ("outputs", lambda: [TensorInfo("boxes", "what", ())], rt.BackendError, "what"),
        ("outputs", lambda: [TensorInfo("boxes", "int32", (None, 4))], rt.BadBundleError, r"int32 \[\?, 4\], the mani"),
    ],
)
def test_wrong_sessions(
    script: Script, tiny_bundle: Path, attribute: str, value: Any, expected: type[BaseException], message: str
) -> None:
    setattr(script, attribute, value)
    with pytest.raises(expected, match=message):
        Predictor(tiny_bundle, backend=NAME)


def test_a_session_without_methods(tiny_bundle: Path) -> None:
    register_backend("nothing", lambda path, options: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(rt.BackendError, match="'NoneType' object has no attribute 'inputs'"):
        Predictor(tiny_bundle, backend="nothing")


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
from tests.instseg_rt.test_backend import Script, tiny_network
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
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=root)
    assert (done.returncode, done.stderr, done.stdout.splitlines()[0]) == (0, "", "end")


@pytest.mark.parametrize(
    ("name", "factory", "message"),
    [
        (NAME, lambda path, options: None, "there is one of this name already"),
        ("openvino", lambda path, options: None, r"the plug-in .*libinstseg_backend_openvino\.so has this name"),
        ("onnxruntime", lambda path, options: None, "this package has one of this name"),
        ("", lambda path, options: None, "it needs a name"),
        ("x", None, "expected a name and a function or class"),
        (3, lambda path, options: None, "expected a name and a function or class"),
    ],
)
def test_names_that_cannot_be_registered(name: Any, factory: Any, message: str) -> None:
    before = rt.backends()
    with pytest.raises(rt.InvalidArgumentError, match=message):
        register_backend(name, factory)
    assert rt.backends() == before


def test_listed(script: Script) -> None:
    found = {entry["name"]: entry for entry in rt.backends()}
    assert found[NAME] == {"name": NAME, "path": None, "available": True, "version": "1.5", "error": None}
    assert found["openvino"]["path"] is not None
    assert "onnxruntime" in found


def test_never_used_where_it_is_not_named(script: Script, tiny_bundle: Path) -> None:
    assert Predictor(tiny_bundle).backend.startswith("openvino")
    assert script.made == []


@pytest.mark.parametrize(
    ("name", "hint"), [("opnvino", "; did you mean openvino?"), ("Scripted", "; did you mean scripted?"), ("zzz", "")]
)
def test_unknown_names(tiny_bundle: Path, name: str, hint: str) -> None:
    with pytest.raises(rt.UnsupportedError) as caught:
        Predictor(tiny_bundle, backend=name)
    assert str(caught.value).startswith(f"backend {name!r} is not known{hint} (known: openvino, ")


def test_a_plugin_that_cannot_be_loaded_names_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"name": "openvino", "path": "/x.so", "available": False, "version": None, "error": "no libopenvino"}
    monkeypatch.setattr(_core, "backends", lambda: [broken])
    error = rt.UnsupportedError("no backend for device 'cpu'; no libopenvino")
    expected = r"no libopenvino; without a plug-in, backend='onnxruntime' runs it \(pip install 'instseg-rt\[onnx"
    with pytest.raises(rt.UnsupportedError, match=expected):
        raise explain_missing(None, error)
    assert explain_missing("openvino", error) is error  # asked for: its own reason is enough
    monkeypatch.setattr(_core, "backends", lambda: [broken | {"available": True}])
    assert explain_missing(None, error) is error  # something else is not supported


@pytest.mark.parametrize("named", [None, "openvino"])
def test_gpu_without_a_backend_that_has_one(tiny_bundle: Path, named: str | None) -> None:
    expected = "backend='onnxruntime' with" if named is None else "backend 'openvino' does not run on it"
    with pytest.raises(rt.UnsupportedError, match=expected):
        Predictor(tiny_bundle, device="gpu", backend=named)
