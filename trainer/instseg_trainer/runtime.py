"""What has to be settled before Paddle is imported."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import ConfigError


def prepare_cpu(threads: int | None = None) -> None:
    """Settings of the CPU's matrix library, which reads them once, when Paddle is imported: call this first.

    Paddle's wheel carries a library that gives processors of other makers than Intel its slowest code unless told
    otherwise, and runs one thread unless asked. What the user has set is left alone. Imports Paddle.
    """
    count = str(threads or len(os.sched_getaffinity(0)))
    if "GenuineIntel" not in _cpu_vendor():
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    os.environ.setdefault("OMP_NUM_THREADS", count)
    os.environ.setdefault("MKL_NUM_THREADS", count)
    _import_paddle()


def _import_paddle() -> None:
    """Without its warning of several threads, which are meant here; what else the import says is passed on."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            importlib.import_module("paddle")
    finally:
        sys.stderr.writelines(line for line in said.getvalue().splitlines(True) if "OMP_NUM_THREADS" not in line)


def _cpu_vendor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("vendor_id"):
                return line
    except OSError:
        pass
    return ""


@dataclass(frozen=True)
class Devices:
    """kind: cpu or gpu. numbers: of the GPUs that were named; empty: the CPU, or whichever GPU is first."""

    kind: str
    numbers: tuple[int, ...] = ()

    @property
    def first(self) -> str:
        return f"{self.kind}:{self.numbers[0]}" if self.numbers else self.kind


def parse_devices(text: str) -> Devices:
    """`Global.device`: `cpu`, `gpu`, `gpu:0` or, several, `gpu:0,1`. Raises `ConfigError`."""
    kind, separator, listed = text.partition(":")
    numbers = listed.split(",") if separator else []
    if (
        kind not in ("cpu", "gpu")
        or (kind == "cpu" and separator)
        or any(not number.isdecimal() for number in numbers)
        or len(set(numbers)) < len(numbers)
    ):
        raise ConfigError(f"Global.device: expected cpu, gpu, gpu:0 or gpu:0,1, found {text!r}")
    return Devices(kind, tuple(int(number) for number in numbers))


def set_device(device: str) -> None:
    """`Global.device`, of several the first. In a process of `paddle.distributed.launch`, the GPU that the launcher
    gave it. Raises `ConfigError` where Paddle has no such device.
    """
    import paddle

    devices = parse_devices(device)
    if devices.kind == "gpu" and not paddle.is_compiled_with_cuda():
        raise ConfigError(
            "Global.device: this paddlepaddle is built without CUDA: install paddlepaddle-gpu or use Global.device=cpu"
        )
    paddle.set_device(devices.kind if launched_processes() > 1 else devices.first)


def launched_processes() -> int:
    """How many processes `paddle.distributed.launch` started this one among; 1 without it."""
    return int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))
