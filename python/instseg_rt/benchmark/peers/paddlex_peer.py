"""PaddleX itself, in a process of its own environment: it and this package ask for different versions of Paddle."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from instseg_rt._core import BundleInfo
from instseg_rt.benchmark.environment import environment
from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.peers import PADDLEX
from instseg_rt.benchmark.peers.found import Found
from instseg_rt.benchmark.subjects import TOTAL, Call

_WORKER = Path(__file__).with_name("paddlex_worker.py")
_DESCRIPTION = "inference.yml"
_END_SECONDS = 5.0


class PaddlexPeer:
    """`python` runs PaddleX on `model`, the folder that it exported; on the CPU, in float32; threads None: all cores.

    The time of a call is taken in that process, from the path to the result, and so leaves out the way between the
    processes. Raises `BenchmarkError` for a Python or model that cannot be used, with the program's last words.
    """

    name = PADDLEX
    must_agree = True

    def __init__(self, python: Path, model: Path, bundle: BundleInfo, threshold: float, threads: int | None) -> None:
        if not (model / _DESCRIPTION).is_file():
            raise BenchmarkError(f"{model}: expected a model that PaddleX exported, a folder with {_DESCRIPTION}")
        count = str(threads or environment().cores)
        # PaddleX's own default is 10 threads, however many cores there are.
        variables = {"PADDLE_PDX_CPU_NUM_THREADS": count, "OMP_NUM_THREADS": count}
        command = [str(python), str(_WORKER), str(model.resolve()), _model_name(model, bundle), repr(threshold)]
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                env={**os.environ, **variables},
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            self._words.close()
            raise BenchmarkError(f"--paddlex-python: {python}: cannot be run: {error.strerror or error}") from error
        try:
            self.version = str(self._read()["version"])
        except BaseException:
            self.close()
            raise

    @property
    def process_id(self) -> int:
        return self._process.pid

    def __call__(self, images: Sequence[Path]) -> Call:
        return Call(1, {TOTAL: float(self._ask(images[0], masks=False)["ms"])})

    def find(self, image: Path) -> Found:
        instances = self._ask(image, masks=True)["instances"]
        decoded = cv2.imread(str(image), cv2.IMREAD_COLOR)
        if decoded is None:
            raise BenchmarkError(f"{image}: not an image that OpenCV reads")
        boxes = [instance["box"] for instance in instances]
        return Found(
            np.array([instance["class_id"] for instance in instances], np.int64),
            np.array([instance["score"] for instance in instances], np.float32),
            None if None in boxes else np.array(boxes, np.float32).reshape(-1, 4),
            [_unpack(instance["mask"], decoded.shape[:2]) for instance in instances],
            cropped=True,
        )

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._words.close()

    def _ask(self, image: Path, *, masks: bool) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: `_read` says why
            self._process.stdin.write(json.dumps({"image": str(image.resolve()), "masks": masks}) + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(f"--compare {PADDLEX}: the process ended: {self._last_words()}")
        content: dict[str, Any] = json.loads(line)
        if "error" in content:
            raise BenchmarkError(f"--compare {PADDLEX}: {content['error']}")
        return content

    def _last_words(self) -> str:
        self._words.seek(0)
        lines = self._words.read().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _model_name(model: Path, bundle: BundleInfo) -> str:
    """What the model's own description says; the bundle's where it says nothing."""
    import yaml

    try:
        content = yaml.safe_load((model / _DESCRIPTION).read_text(encoding="utf-8"))
        return str(content["Global"]["model_name"])
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{model / _DESCRIPTION}: cannot be read: {' '.join(str(error).split())}") from error
    except (KeyError, TypeError):
        return bundle.model


def _unpack(mask: dict[str, Any], shape: Sequence[int]) -> np.ndarray:
    """(H, W) bool of the image."""
    height, width = mask["height"], mask["width"]
    bits = np.unpackbits(np.frombuffer(base64.b64decode(mask["bits"]), np.uint8), count=height * width)
    full = np.zeros(tuple(shape), bool)
    full[mask["top"] : mask["top"] + height, mask["left"] : mask["left"] + width] = bits.reshape(height, width)
    return full
