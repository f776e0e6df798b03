"""The straightforward Python pipeline on the ONNX file of a bundle: what one writes without this project."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from instseg_rt._core import BundleInfo
from instseg_rt.benchmark.clock import Clock
from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.peers import mask_rtdetr, ppyoloe_seg, solov2
from instseg_rt.benchmark.peers.found import Found, make_call
from instseg_rt.benchmark.peers.preprocess import Geometry, preprocess
from instseg_rt.benchmark.peers.sessions import SESSIONS, Outputs
from instseg_rt.benchmark.subjects import Call

Decode = Callable[[Outputs, Geometry, BundleInfo, float], Found]
_FAMILIES: dict[str, Decode] = {
    "ppyoloe_seg": ppyoloe_seg.decode,
    "mask_rtdetr": mask_rtdetr.decode,
    "solov2": solov2.decode,
}
_STAGES = ("decode", "preprocess", "inference", "postprocess")


class PipelinePeer:
    """`name` is the library that runs the network; on the CPU, in float32; threads None: all cores.

    Raises `BenchmarkError` for a family that has no usual pipeline in NumPy, or a library that is not installed.
    """

    process_id = None
    must_agree = True

    def __init__(self, name: str, bundle: BundleInfo, threshold: float, threads: int | None, clock: Clock) -> None:
        if bundle.family not in _FAMILIES:
            raise BenchmarkError(
                f"--compare {name}: {bundle.model} has RoIAlign between its networks, which nobody does in NumPy: "
                f"compare with paddlex, or with the families {', '.join(_FAMILIES)}"
            )
        self.name = name
        self._decode = _FAMILIES[bundle.family]
        self._bundle = bundle
        self._threshold = threshold
        self._clock = clock
        if threads:
            cv2.setNumThreads(threads)
        self._session = SESSIONS[name](bundle, threads)
        self.version = self._session.version

    def __call__(self, images: Sequence[Path]) -> Call:
        return self._run(images[0])[1]

    def find(self, image: Path) -> Found:
        return self._run(image)[0]

    def close(self) -> None:
        """Nothing to end: the session goes with the object."""

    def _run(self, image_file: Path) -> tuple[Found, Call]:
        times = [self._clock.now()]
        image = cv2.imdecode(np.fromfile(image_file, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise BenchmarkError(f"{image_file}: not an image that OpenCV reads")
        times.append(self._clock.now())
        network, geometry = preprocess(image, self._bundle.input)
        times.append(self._clock.now())
        outputs = self._session.run(network)
        times.append(self._clock.now())
        with np.errstate(over="ignore"):  # the sigmoid of a large negative number is 0
            found = self._decode(outputs, geometry, self._bundle, self._threshold)
        times.append(self._clock.now())
        milliseconds = {name: (times[i + 1] - times[i]) * 1e3 for i, name in enumerate(_STAGES)}
        return found, make_call(milliseconds, times[0], self._clock)
