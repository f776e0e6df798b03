"""What has to be settled before Paddle is imported."""

from __future__ import annotations

import os
from pathlib import Path


def prepare_cpu(threads: int | None = None) -> None:
    """Settings of the CPU's matrix library, which reads them once, when Paddle is imported: call this first.

    Paddle's wheel carries a library that gives processors of other makers than Intel its slowest code unless told
    otherwise,
    and runs one thread unless asked. What the user has set is left alone.
    """
    count = str(threads or len(os.sched_getaffinity(0)))
    if "GenuineIntel" not in _cpu_vendor():
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    os.environ.setdefault("OMP_NUM_THREADS", count)
    os.environ.setdefault("MKL_NUM_THREADS", count)


def _cpu_vendor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("vendor_id"):
                return line
    except OSError:
        pass
    return ""


def set_device(device: str) -> None:
    """`cpu`, `gpu` or `gpu:0`. Raises `ConfigError` where Paddle has no such device."""
    import paddle

    from .errors import ConfigError

    kind, _, index = device.partition(":")
    if kind not in ("cpu", "gpu") or (index and not index.isdigit()):
        raise ConfigError(f"Global.device: expected cpu, gpu or gpu:0, found {device!r}")
    if kind == "gpu" and not paddle.is_compiled_with_cuda():
        raise ConfigError(
            "Global.device: this paddlepaddle is built without CUDA: install paddlepaddle-gpu or use Global.device=cpu"
        )
    paddle.set_device(device)
