"""Reading and writing `.pdparams`, and loading them into a model by name.

A `.pdparams` is a pickle, and a pickle can run any code when it is read. `read_pdparams` therefore lets it name nothing
but the few functions that rebuild numpy arrays.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import paddle
from paddle import nn

from .errors import WeightsError

_ALLOWED = {
    ("collections", "OrderedDict"),
    ("builtins", "tuple"),
    ("_codecs", "encode"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
}
# Entries that paddle.save adds beside the tensors.
_PARAMETER_NAMES = "StructuredToParameterName@@"
_BIG_PARAMETERS = "UnpackBigParamInfor@@"


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}; a weights file holds arrays and names only")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it asks for an object outside the file")


def read_pdparams(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a `.pdparams` (or `.pdema`, `.pdopt` of arrays) by name, in file order. Raises `WeightsError`."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
    if not data:
        raise WeightsError(f"{path}: the file is empty")
    try:
        content = _ArrayUnpickler(io.BytesIO(data)).load()
    except Exception as error:
        # The pickle machine fails with whatever the bytes lead it to: all of it means the same to the user.
        raise WeightsError(f"{path}: refused as a weights file: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected a dictionary of arrays by name, found {type(content).__name__}")
    _join_big_parameters(path, content)
    arrays: dict[str, np.ndarray] = {}
    for name, value in content.items():
        if name == _PARAMETER_NAMES:
            continue
        # Newer writers store a tensor as (name, array).
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            value = value[1]  # noqa: PLW2901
        if not isinstance(name, str) or not isinstance(value, np.ndarray) or value.dtype.hasobject:
            raise WeightsError(f"{path}: entry {name!r}: expected an array of numbers, found {type(value).__name__}")
        arrays[name] = value
    return arrays


def _join_big_parameters(path: Path, content: dict[str, Any]) -> None:
    """paddle.save cuts arrays above 4 GB into slices for old pickle protocols; this puts them together."""
    for name, info in content.pop(_BIG_PARAMETERS, {}).items():
        try:
            slices = [content.pop(part) for part in info["slices"]]
            content[name] = np.concatenate(slices).reshape(info["OriginShape"])
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(f"{path}: entry {name!r} is cut into slices that do not fit: {error}") from error


def write_pdparams(path: str | os.PathLike[str], state: Mapping[str, paddle.Tensor]) -> None:
    """Writes a state dict so that the reference reads it by name: to a temporary file, then renamed into place."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        paddle.save(dict(state), str(temporary))
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass
class LoadReport:
    """What `load_weights` did, by name."""

    loaded: list[str] = field(default_factory=list)
    skipped_classifier: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def summary(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        if self.skipped_classifier:
            parts.append(
                f"{len(self.skipped_classifier)} of another class count start anew: "
                f"{', '.join(self.skipped_classifier)}"
            )
        for text, names in (("missing in the file", self.missing), ("not of this model", self.unexpected)):
            if names:
                shown = ", ".join(names[:5]) + (f", and {len(names) - 5} more" if len(names) > 5 else "")
                parts.append(f"{len(names)} {text}: {shown}")
        return "; ".join(parts)


def load_weights(
    model: nn.Layer,
    arrays: Mapping[str, np.ndarray],
    *,
    source: str,
    strict: bool = True,
    any_classes: bool = False,
) -> LoadReport:
    """Copies arrays into the model's parameters and buffers of the same name.

    Args:
        source: what to call the file in messages.
        strict: a name missing in the file is an error (fine-tuning from a backbone turns this off). Names that the
        model does not have are reported, never used.
        any_classes: layers whose first dimension is the class count are left as they are when only that dimension
        differs.

    Raises `WeightsError` with names and shapes; the model is unchanged then.
    """
    report = LoadReport()
    state = model.state_dict()
    num_classes = int(getattr(model, "num_classes", -1))
    updates: dict[str, np.ndarray] = {}
    wrong: list[str] = []
    for name, tensor in state.items():
        array = arrays.get(name)
        if array is None:
            report.missing.append(name)
        elif tuple(array.shape) == tuple(tensor.shape):
            updates[name] = array
        elif any_classes and tensor.shape[0] == num_classes and list(array.shape[1:]) == list(tensor.shape[1:]):
            report.skipped_classifier.append(name)
        else:
            wrong.append(f"{name}: expected {list(tensor.shape)}, found {list(array.shape)}")
    report.unexpected = [name for name in arrays if name not in state]
    if wrong:
        raise WeightsError(
            f"{source}: {len(wrong)} tensors have another shape than the model's: {'; '.join(wrong[:3])}"
        )
    if not updates:
        raise WeightsError(
            f"{source}: holds none of the model's {len(state)} tensors (first expected: {next(iter(state))})"
        )
    if strict and report.missing:
        raise WeightsError(f"{source}: {report.summary()}")
    for name, array in updates.items():
        state[name].set_value(np.ascontiguousarray(array, dtype=_numpy_dtype(state[name])))
    report.loaded = list(updates)
    return report


def _numpy_dtype(tensor: paddle.Tensor) -> np.dtype:
    return np.dtype(str(tensor.dtype).removeprefix("paddle."))
