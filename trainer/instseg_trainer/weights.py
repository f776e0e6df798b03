"""Reading and writing `.pdparams`, and loading them into a model by name.

A `.pdparams` is a pickle, and a pickle can run any code when it is read. `read_pdparams` therefore lets it name nothing
but the few functions that rebuild numpy arrays.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Container, Iterable, Mapping
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


def read_states(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a file that `paddle.save` wrote of numbers, texts and arrays by name, such as a `.pdstates`.

    Raises `WeightsError`.
    """
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
    return content


def read_pdparams(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a `.pdparams` (or `.pdema`, `.pdopt` of arrays) by name, in file order. Raises `WeightsError`."""
    path = Path(path)
    content = read_states(path)
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


def write_pdparams(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
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
    """What `load_weights` did, by the model's names (`unexpected`: the file's).

    renamed: those of `loaded` that the file has without the `backbone.` in front; class_count: the file's, where it
    is another than the model's.
    """

    loaded: list[str] = field(default_factory=list)
    renamed: list[str] = field(default_factory=list)
    skipped_classifier: list[str] = field(default_factory=list)
    class_count: int | None = None
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def summary(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        if self.renamed:
            parts[0] += f", {len(self.renamed)} of them from the names of a backbone alone"
        if self.skipped_classifier:
            parts.append(
                f"{len(self.skipped_classifier)} of another class count ({self.class_count}) start anew: "
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

    A file of a backbone alone, as classifiers trained on ImageNet come, fits too (`backbone_name`); it is not
    complete, so `strict` must be off for it.

    Args:
        source: what to call the file in messages.
        strict: a name missing in the file is an error (fine-tuning from a backbone turns this off). Names that the
        model does not have are reported, never used.
        any_classes: where the file is of another class count, the layers that depend on it are left as they are.

    Raises `WeightsError` with names and shapes; the model is unchanged then.
    """
    state = model.state_dict()
    report = LoadReport()
    updates, mismatches = _match_names(state, arrays, report)
    if any_classes and mismatches:
        report.class_count = other_class_count(mismatches.values(), int(getattr(model, "num_classes", -1)))
    if report.class_count is not None:
        report.skipped_classifier = list(mismatches)
    elif mismatches:
        listed = [f"{name}: expected {list(e)}, found {list(f)}" for name, (e, f) in list(mismatches.items())[:3]]
        raise WeightsError(
            f"{source}: {len(mismatches)} tensors have another shape than the model's: {'; '.join(listed)}"
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


ShapePair = tuple[tuple[int, ...], tuple[int, ...]]
"""The model's shape of a tensor, the file's."""


def _match_names(
    state: Mapping[str, paddle.Tensor], arrays: Mapping[str, np.ndarray], report: LoadReport
) -> tuple[dict[str, np.ndarray], dict[str, ShapePair]]:
    """By the model's names: the arrays that fit, and the shapes of those that do not. Fills in the report's names."""
    updates: dict[str, np.ndarray] = {}
    mismatches: dict[str, ShapePair] = {}
    used: set[str] = set()
    for name, tensor in state.items():
        found = name if name in arrays else backbone_name(name, arrays)
        if found is None:
            report.missing.append(name)
            continue
        used.add(found)
        array = arrays[found]
        if tuple(array.shape) != tuple(tensor.shape):
            mismatches[name] = (tuple(tensor.shape), tuple(array.shape))
            continue
        updates[name] = array
        if found != name:
            report.renamed.append(name)
    report.missing = _without_second_names(report.missing, state)
    report.unexpected = [name for name in arrays if name not in used]
    return updates, mismatches


def backbone_name(name: str, names: Container[str]) -> str | None:
    """Under which of `names` a file of a backbone alone has the model's tensor `name`; None: it does not.

    Such a file lacks the leading `backbone.`. The stage res5 of a C4 model is in its box head instead, and also fits
    the res5 of another model's backbone. A classifier's last layer (`fc.weight`) fits nothing.
    """
    if name.startswith(_BACKBONE):
        candidates = [name.removeprefix(_BACKBONE)]
    elif name.startswith(_C4_HEAD + "res5."):
        res5 = name.removeprefix(_C4_HEAD)
        candidates = [res5, _BACKBONE + res5]
    else:
        candidates = []
    return next((candidate for candidate in candidates if candidate in names), None)


_BACKBONE = "backbone."
_C4_HEAD = "bbox_head.head."


def other_class_count(shapes: Iterable[ShapePair], num_classes: int) -> int | None:
    """The one class count that explains why all these tensors differ from the model's, or None.

    Each may differ along one axis, of num_classes values, num_classes + 1 (with a background) or 4 * num_classes
    (a box per class).
    """
    counts: set[int | None] = set()
    for expected, found in shapes:
        axes = [axis for axis, sides in enumerate(zip(expected, found)) if sides[0] != sides[1]]
        if len(expected) != len(found) or len(axes) != 1:
            return None
        ours, theirs = expected[axes[0]], found[axes[0]]
        if ours == num_classes:
            counts.add(theirs)
        elif ours == num_classes + 1:
            counts.add(theirs - 1)
        elif ours == 4 * num_classes and theirs % 4 == 0:
            counts.add(theirs // 4)
        else:
            return None
    return counts.pop() if len(counts) == 1 else None


def _without_second_names(missing: list[str], state: Mapping[str, paddle.Tensor]) -> list[str]:
    """Without the names of tensors that are there under another name: one layer of a model may have two."""
    absent = set(missing)
    present = {id(tensor) for name, tensor in state.items() if name not in absent}
    return [name for name in missing if id(state[name]) not in present]


def _numpy_dtype(tensor: paddle.Tensor) -> np.dtype:
    return np.dtype(str(tensor.dtype).removeprefix("paddle."))
