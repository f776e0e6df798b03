"""Backends: what runs the stages of a bundle.

A backend is a plug-in library, or a Python class that is registered here under a name:

    class Session:
        def __init__(self, path: Path, options: SessionOptions) -> None: ...   # reads and compiles the stage
        def inputs(self) -> list[TensorInfo]: ...
        def outputs(self) -> list[TensorInfo]: ...
        def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]: ...

    register_backend("mine", Session)
    Predictor("model.bundle", backend="mine")

Backends in Python, those of this package too, are used only where they are named.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from instseg_rt import _core
from instseg_rt.errors import InvalidArgumentError, UnsupportedError
from instseg_rt.suggest import did_you_mean

if TYPE_CHECKING:
    from instseg_rt._core import Backend


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output of a stage.

    dtype: float32, float16, int32, int64 or uint8. shape: None for a size that is known at run time only; any axis
    may have one.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What a session is made for.

    device: "cpu", "gpu:0". precision: "fp32", "fp16" or "bf16"; "int8": the file is an OpenVINO IR.
    threads: CPU threads, None for all cores. contexts: how many threads may call `run` at the same time.
    leading_batch: the first axes are all that differs from run to run, and they are the batch; sizes that follow
    from the model must then be known in `outputs()`.
    """

    device: str
    precision: str
    threads: int | None
    contexts: int
    leading_batch: bool


class Session(Protocol):
    """One stage, ready to run. What its methods raise reaches the caller of the Predictor: the package's errors as
    they are, others as the cause of a `BackendError`, KeyboardInterrupt as itself.
    """

    def inputs(self) -> Sequence[TensorInfo]:
        """The stage's inputs, with the names and shapes of the ONNX file."""

    def outputs(self) -> Sequence[TensorInfo]:
        """The stage's outputs, likewise."""

    def run(self, inputs: dict[str, np.ndarray]) -> Mapping[str, np.ndarray] | Sequence[np.ndarray]:
        """Compute the outputs: by name (a dict), or a list or tuple in the order of `outputs()`.

        The inputs are read-only views of memory that is used for something else after the call: a session that needs
        one later keeps a copy. The outputs have the types and the known sizes of `outputs()`; arrays whose elements
        lie row by row are taken without a copy, and read until the next call. With several contexts, calls come from
        several threads, and each returns arrays of its own.
        """


SessionFactory = Callable[[Path, SessionOptions], Session]


@dataclass(frozen=True, slots=True)
class _Shipped:
    """A backend of this package, registered when it is first asked for.

    module: has `create_session`, a SessionFactory; `version()`, which imports the library behind it or raises
    `UnsupportedError`; and `installed_version()`, which imports nothing and gives None where it is not installed.
    extra: the optional dependency that brings the library.
    """

    module: str
    extra: str


_SHIPPED = {"onnxruntime": _Shipped("instseg_rt.backend.onnxruntime", "onnxruntime")}
_prepared: set[str] = set()
_preparing = threading.Lock()


def register_backend(name: str, factory: SessionFactory, *, version: str = "") -> None:
    """Make `Predictor(…, backend=name)` run stages by sessions of `factory`, until the end of the process.

    factory: called with the path of a stage's ONNX file and what the session is for, once per stage; a class, or a
    function. It raises `UnsupportedError` for a device or precision that it does not have.
    version: of the library behind it, for `Predictor.backend` and reports.

    Raises `InvalidArgumentError` for a name that is taken, or empty.
    """
    if not isinstance(name, str) or not isinstance(version, str) or not callable(factory):
        raise InvalidArgumentError(
            "register_backend: expected a name, a function or class, and a version as text; "
            f"found {name!r}, {factory!r} and {version!r}"
        )
    if name in _SHIPPED:
        raise InvalidArgumentError(f"backend {name!r} cannot be registered: this package has one of this name")
    _register(name, factory, version)


def backends() -> list[Backend]:
    """Every backend that can be named here, and why one cannot be used; loads the plug-ins, but no Python package."""
    found = _core.backends()
    return found + [_describe(name, shipped) for name, shipped in _SHIPPED.items() if name not in _prepared]


def prepare_backend(name: str) -> None:
    """Register a backend of this package where `name` is one, and was not needed before.

    Raises `UnsupportedError` where the library that it needs is not installed.
    """
    if name not in _SHIPPED:
        return
    with _preparing:
        if name not in _prepared:
            module = importlib.import_module(_SHIPPED[name].module)
            _register(name, module.create_session, module.version())
            _prepared.add(name)


def explain_missing(asked: str | None, error: UnsupportedError) -> UnsupportedError:
    """The error of a predictor that found no backend, with what to do about it; `error` itself for other reasons.

    asked: the backend's name; None: any plug-in for the CPU.
    """
    known = backends()
    names = [backend["name"] for backend in known]
    if asked is not None and asked not in names:
        if asked.startswith("tensorrt"):
            return UnsupportedError(f"backend {asked!r} is not in this build: docs/cpp.md says how it is built")
        hint = did_you_mean(asked, names)
        return UnsupportedError(f"backend {asked!r} is not known{hint} (known: {', '.join(names)})")
    if asked is None and not any(backend["available"] for backend in known if backend["path"] is not None):
        return UnsupportedError(f"{error}; without a plug-in, {_ways()}")
    return error


def _ways() -> str:
    ways = (
        f"backend={name!r} runs it (pip install 'instseg-rt[{shipped.extra}]')" for name, shipped in _SHIPPED.items()
    )
    return ", or ".join(ways)


def _register(name: str, factory: SessionFactory, version: str) -> None:
    def create(path: str, device: str, precision: str, threads: int, contexts: int, leading_batch: bool) -> Session:
        return factory(Path(path), SessionOptions(device, precision, threads or None, contexts, leading_batch))

    _core.register_backend(name, create, version)


def _describe(name: str, shipped: _Shipped) -> Backend:
    version = importlib.import_module(shipped.module).installed_version()
    missing = None if version else f"not installed: pip install 'instseg-rt[{shipped.extra}]'"
    return {"name": name, "path": None, "available": version is not None, "version": version, "error": missing}
