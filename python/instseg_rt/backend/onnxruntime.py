"""The backend `onnxruntime`: stages run by ONNX Runtime, on the CPU or on a GPU that its build can use.

ONNX Runtime itself is imported when it is asked for.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from instseg_rt.backend import SessionOptions, TensorInfo
from instseg_rt.errors import BackendError, BadBundleError, UnsupportedError

NAME = "onnxruntime"
_CPU_PROVIDER = "CPUExecutionProvider"
# The first that the installed build has.
_GPU_PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
# Wheels that bring the module.
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
}
_SEVERITY_ERROR = 3


class OnnxRuntimeSession:
    """A stage compiled by ONNX Runtime; may be run by several threads at once.

    Raises `UnsupportedError` for a device or precision that the installed build does not have, `BadBundleError` for a
    file that is no ONNX graph, `BackendError` for one that it cannot run.
    """

    def __init__(self, path: Path, options: SessionOptions) -> None:
        onnxruntime = _import()
        if options.precision == "int8":
            raise UnsupportedError(
                "precision 'int8': INT8 stages are in OpenVINO's format, which ONNX Runtime does not read: use "
                "backend='openvino', or 'fp32'"
            )
        if options.precision != "fp32":
            raise UnsupportedError(
                f"precision {options.precision!r}: ONNX Runtime computes in the types of the graph: use 'fp32'"
            )
        provider, settings = _provider(onnxruntime, options.device)
        session_options = onnxruntime.SessionOptions()
        session_options.intra_op_num_threads = options.threads or 0
        session_options.log_severity_level = _SEVERITY_ERROR
        errors = onnxruntime.capi.onnxruntime_pybind11_state
        try:
            self._session = onnxruntime.InferenceSession(str(path), session_options, providers=[(provider, settings)])
        except (errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument) as error:
            raise BadBundleError(_one_line(error)) from error
        except Exception as error:  # its exceptions have no class of their own in common
            raise BackendError(_one_line(error)) from error
        # It goes on with the CPU where the provider's libraries cannot be loaded.
        if self._session.get_providers()[0] != provider:
            raise UnsupportedError(
                f"device {options.device!r}: {provider} of the installed ONNX Runtime cannot be used: are the CUDA and "
                "cuDNN libraries of its version there?"
            )
        self._inputs = [_tensor(node) for node in self._session.get_inputs()]
        self._outputs = [_tensor(node) for node in self._session.get_outputs()]
        self._output_names = [tensor.name for tensor in self._outputs]

    def inputs(self) -> Sequence[TensorInfo]:
        return self._inputs

    def outputs(self) -> Sequence[TensorInfo]:
        return self._outputs

    def run(self, inputs: dict[str, np.ndarray]) -> Sequence[np.ndarray]:
        """Inputs are read, and outputs handed over, where they lie, but for a GPU's."""
        try:
            outputs: list[np.ndarray] = self._session.run(self._output_names, inputs)
        except Exception as error:
            raise BackendError(_one_line(error)) from error
        return outputs


create_session = OnnxRuntimeSession


def version() -> str:
    """The version of ONNX Runtime, which is imported. Raises `UnsupportedError` where it is not installed."""
    return str(_import().__version__)


def installed_version() -> str | None:
    """The version of ONNX Runtime, without importing it; None where it is not installed."""
    if importlib.util.find_spec(NAME) is None:
        return None
    for distribution in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def _import() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise UnsupportedError(
            f"backend {NAME!r} needs ONNX Runtime ({error}): pip install 'instseg-rt[{NAME}]'"
        ) from error
    return onnxruntime


def _provider(onnxruntime: ModuleType, device: str) -> tuple[str, dict[str, Any]]:
    """The execution provider for a device, and its settings."""
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return _CPU_PROVIDER, {}
    available = onnxruntime.get_available_providers()
    for provider in _GPU_PROVIDERS:
        if provider in available:
            return provider, {"device_id": int(index or 0)}
    raise UnsupportedError(
        f"device {device!r}: the installed ONNX Runtime has no {' and no '.join(_GPU_PROVIDERS)} (it has "
        f"{', '.join(available)}): pip install onnxruntime-gpu in its place, or use device='cpu'"
    )


def _tensor(node: Any) -> TensorInfo:
    if node.type not in _DTYPES:
        raise BadBundleError(f"tensor {node.name!r} is {node.type}, expected one of {', '.join(_DTYPES)}")
    return TensorInfo(
        node.name, _DTYPES[node.type], tuple(size if isinstance(size, int) else None for size in node.shape)
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
