"""The libraries that run a bundle's ONNX file, each as its documentation shows it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from instseg_rt._core import BundleInfo
from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.peers import ONNXRUNTIME, OPENVINO

Outputs = dict[str, np.ndarray]


class Session(Protocol):
    version: str

    def run(self, image: np.ndarray) -> Outputs:
        """(1, 3, height, width) float32 -> the outputs by name, with their batch axis."""


class OnnxRuntimeSession:
    """threads None: all cores."""

    def __init__(self, bundle: BundleInfo, threads: int | None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise BenchmarkError(
                f"--compare {ONNXRUNTIME} needs ONNX Runtime ({error}): pip install 'instseg-rt[onnxruntime]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        # Its threads would go on spinning after a call, on the cores that the next program in turn computes on.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        stage = bundle.stages[0]
        self._session = onnxruntime.InferenceSession(str(stage.file), options, providers=["CPUExecutionProvider"])
        self._input = stage.inputs[0].name
        self._names = [output.name for output in stage.outputs]
        self.version = str(onnxruntime.__version__)

    def run(self, image: np.ndarray) -> Outputs:
        return dict(zip(self._names, self._session.run(self._names, {self._input: image}), strict=True))


class OpenVinoSession:
    """In float32, for the shortest latency; threads None: all cores."""

    def __init__(self, bundle: BundleInfo, threads: int | None) -> None:
        try:
            import openvino
        except ImportError as error:
            raise BenchmarkError(f"--compare {OPENVINO} needs OpenVINO ({error}): pip install openvino") from error
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        stage, spec = bundle.stages[0], bundle.input
        core = openvino.Core()
        model = core.read_model(stage.file)
        if spec.height is not None and spec.width is not None:
            model.reshape({model.inputs[0]: [1, 3, spec.height, spec.width]})
        self._request = core.compile_model(model, "CPU", options).create_infer_request()
        self._names = [output.name for output in stage.outputs]
        self.version = str(openvino.__version__)

    def run(self, image: np.ndarray) -> Outputs:
        outputs = self._request.infer([image])
        return {name: outputs[name] for name in self._names}


SESSIONS: dict[str, type[OnnxRuntimeSession] | type[OpenVinoSession]] = {
    ONNXRUNTIME: OnnxRuntimeSession,
    OPENVINO: OpenVinoSession,
}
