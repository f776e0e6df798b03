"""What every benchmark has in common: the environment it ran in, the JSON that it leaves, errors of one line."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPORTS = Path("output/benchmarks")
_PACKAGES = (
    "instseg-rt",
    "openvino",
    "opencv-python-headless",
    "numpy",
    "paddlepaddle",
    "onnx",
    "pycocotools",
    "faster-coco-eval",
)
# Modules whose exceptions say in one line what was wrong with the input; they may not be installed.
_USER_ERRORS = (
    "instseg_rt.errors:Error",
    "instseg_rt.scenes.dataset:SceneDatasetError",
    "instseg_trainer.errors:TrainerError",
    "instseg_trainer.data.errors:DataError",
    "instseg_export.errors:ExportError",
)


class BenchmarkError(Exception):
    """A benchmark that cannot be run as asked, or whose results contradict each other; one line."""


@dataclass(frozen=True)
class Environment:
    """Where the figures come from. cores: those that this process may use."""

    cpu: str
    cores: int
    os: str
    python: str
    packages: dict[str, str]
    date: str

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cores} cores, {self.os}, Python {self.python}"


def environment() -> Environment:
    """The machine and the versions that a figure depends on."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Environment(
        cpu=_cpu_name(),
        cores=cores,
        os=platform.platform(),
        python=platform.python_version(),
        packages=packages,
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def write_report(path: Path, benchmark: str, settings: dict[str, Any], results: Any) -> None:
    """Write {"benchmark", "environment", "settings", "results"} as JSON; dataclasses and paths become plain data."""
    content = {
        "benchmark": benchmark,
        "environment": environment(),
        "settings": settings,
        "results": results,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(content, indent=2, default=_plain) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    print(f"report: {path}")


def run(main: Callable[[], None]) -> int:
    """Call `main`; the exit code: 0 done, 1 with one line on stderr, 130 interrupted."""
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed: see benchmarks/README.md", file=sys.stderr)
        return 1
    except Exception as error:
        if not _is_user_error(error):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _is_user_error(error: Exception) -> bool:
    if isinstance(error, BenchmarkError | OSError):
        return True
    for kind in _USER_ERRORS:
        module_name, class_name = kind.split(":")
        # An error of a module that was never loaded cannot have been raised.
        module = sys.modules.get(module_name)
        if module is not None and isinstance(error, getattr(module, class_name)):
            return True
    return False


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a report")
