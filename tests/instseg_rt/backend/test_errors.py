"""Backends written in Python that are wrong, and names that are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import instseg_rt as rt
from instseg_rt import _core
from instseg_rt.backend import TensorInfo, explain_missing, register_backend
from instseg_rt.predictor import Predictor

from .scripted import NAME, Arrays, Script, tiny_network


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


@pytest.mark.parametrize(
    ("name", "factory", "message"),
    [
        (NAME, lambda path, options: None, "there is one of this name already"),
        ("openvino", lambda path, options: None, r"the plug-in .*libinstseg_backend_openvino\.so has this name"),
        ("onnxruntime", lambda path, options: None, "this package has one of this name"),
        ("", lambda path, options: None, "it needs a name"),
        ("x", None, "expected a name, a function or class, and a version"),
        (3, lambda path, options: None, "expected a name, a function or class, and a version"),
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


def test_a_plugin_of_another_build_is_no_wrong_name(tiny_bundle: Path) -> None:
    if any(entry["name"] == "tensorrt" for entry in rt.backends()):
        pytest.skip("this build has the TensorRT plug-in")
    with pytest.raises(rt.UnsupportedError, match=r"^backend 'tensorrt' is not in this build: docs/cpp\.md"):
        Predictor(tiny_bundle, backend="tensorrt")


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
