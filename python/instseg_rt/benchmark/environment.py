"""The machine and the versions that a figure depends on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_PACKAGES = (
    "instseg-rt",
    "openvino",
    "onnxruntime",
    "tensorrt",
    "opencv-python-headless",
    "numpy",
    "paddlepaddle",
    "onnx",
    "pycocotools",
    "faster-coco-eval",
)
# What libraries take the number of their threads, and where these run, from; and what changes PaddleX's and
# OpenVINO's networks.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "OMP_WAIT_POLICY",
    "MKL_NUM_THREADS",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "GOMP_CPU_AFFINITY",
    "OPENBLAS_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "PADDLE_PDX_ENABLE_MKLDNN_BYDEFAULT",
    "INSTSEG_WINOGRAD",
    "INSTSEG_AMX",
    "INSTSEG_QUERIES",
    "INSTSEG_OPENVINO_PROFILE",
)
_FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_CGROUP = Path("/sys/fs/cgroup")
_GPU_SECONDS = 10.0


@dataclass(frozen=True)
class Environment:
    """Where the figures come from.

    cores: CPUs that this process may use; affinity: which ones. cpu_quota: cores that a container's limit allows, None
    without one. governor: of the CPU's frequency, None where it is not told. gpus: name, driver and memory of each.
    variables: those that are set, of those that libraries take their settings from.
    """

    cpu: str
    cores: int
    affinity: tuple[int, ...]
    cpus: int
    cpu_quota: float | None
    governor: str | None
    memory_mb: int | None
    gpus: tuple[str, ...]
    os: str
    python: str
    packages: dict[str, str]
    variables: dict[str, str]
    date: str

    def __str__(self) -> str:
        quota = "" if self.cpu_quota is None else f" (limited to {self.cpu_quota:g})"
        gpus = "".join(f", {gpu}" for gpu in self.gpus)
        return f"{self.cpu}, {self.cores} cores{quota}{gpus}, {self.os}, Python {self.python}"


def environment() -> Environment:
    """Of this process, now."""
    affinity = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    cpus = os.cpu_count() or 1
    return Environment(
        cpu=_cpu_name(),
        cores=len(affinity) or cpus,
        affinity=affinity,
        cpus=cpus,
        cpu_quota=_cpu_quota(),
        governor=read_line(_FREQUENCY / "scaling_governor"),
        memory_mb=_memory_mb(),
        gpus=query_gpus("name,driver_version,memory.total"),
        os=platform.platform(),
        python=platform.python_version(),
        packages=_versions(),
        variables={name: os.environ[name] for name in _VARIABLES if name in os.environ},
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def query_gpus(fields: str) -> tuple[str, ...]:
    """A line of nvidia-smi's answer for each GPU; empty where there is none."""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_GPU_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in answer.splitlines() if line.strip())


def read_line(file: Path) -> str | None:
    """The first line of one of the system's files; None where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, UnicodeDecodeError, IndexError):
        return None


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def _cpu_quota() -> float | None:
    """Of the control group, version 2: "max 100000", or microseconds that may be used in a period of so many."""
    quota, _, period = (read_line(_CGROUP / "cpu.max") or "").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _memory_mb() -> int | None:
    first = (read_line(Path("/proc/meminfo")) or "").split()
    return int(first[1]) * 1024 // 1_000_000 if len(first) == 3 and first[0] == "MemTotal:" else None
