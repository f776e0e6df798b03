"""`instseg doctor`: the installation, and the reason for each part that cannot be used."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from instseg_rt.cli.console import facts, stdout_console

_EPILOG = """\
Exit code 0: bundles can be run here. 1: they cannot, or only with a backend that is named (--backend); the table
says why.
"""

_CPU_FLAGS = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
)
_PACKAGES = ("instseg-rt", "numpy", "opencv-python-headless", "openvino", "PyYAML", "rich")
# Of the OpenVINO plug-in, each 0 or 1: the first leaves all operations to OpenVINO, the second does without the
# processor's matrix unit, the third leaves what queries do to OpenVINO.
_WINOGRAD_VARIABLE = "INSTSEG_WINOGRAD"
_MATRIX_UNIT_VARIABLE = "INSTSEG_AMX"
_VARIABLES = (_WINOGRAD_VARIABLE, _MATRIX_UNIT_VARIABLE, "INSTSEG_QUERIES")
_MATRIX_UNIT = "amx"  # among the instructions that the plug-in names
_USABLE = "bundles can be run here"
_NOT_USABLE = "bundles cannot be run here: see Runtime"
# Optional features and the packages that they need.
_EXTRAS = {
    "train": ("paddlepaddle", "faster-coco-eval", "matplotlib"),
    "export": ("paddlepaddle", "paddle2onnx", "onnx", "onnxslim", "onnxruntime"),
    "onnxruntime": ("onnxruntime",),
    "int8": ("nncf", "onnx", "onnxruntime"),
    "tensorboard": ("tensorboard",),
    "tensorrt": ("tensorrt",),
    "rtx": ("tensorrt-rtx",),
    "Result.img, non-Latin labels": ("pillow",),
    "Result.to_supervision": ("supervision",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `instseg doctor`."""
    parser.epilog = _EPILOG
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    """Print what was found; 0 when bundles can be run here."""
    runtime, verdict = _runtime()
    usable = verdict == _USABLE
    report: dict[str, dict[str, Any]] = {
        "System": _system(),
        "GPU": _gpu(),
        "Packages": {name: _version(name) or "missing" for name in _PACKAGES},
        "Runtime": runtime,
        "Cache": _cache(),
        "Optional": {name: _extra(packages) for name, packages in _EXTRAS.items()},
    }
    if args.json:
        print(json.dumps({"usable": usable, **report}, indent=2))
    else:
        console = stdout_console()
        for title, rows in report.items():
            console.print(facts(title, rows.items()))
        console.print(verdict, markup=False, highlight=False)
    return 0 if usable else 1


def _system() -> dict[str, Any]:
    cpu = _cpu_info()
    flags = set(cpu.get("flags", cpu.get("Features", "")).split())
    return {
        "OS": platform.platform(),
        "CPU": cpu.get("model name") or platform.processor() or platform.machine(),
        "cores": f"{_usable_cores()} usable of {os.cpu_count()}",
        "instruction sets": " ".join(flag for flag in _CPU_FLAGS if flag in flags) or "not known",
        "Python": f"{platform.python_version()} ({sys.executable})",
    }


def _gpu() -> dict[str, Any]:
    """The driver, and what each GPU backend says about the first GPU."""
    rows: dict[str, Any] = {"NVIDIA driver": _driver_version()}
    try:
        core = importlib.import_module("instseg_rt._core")
    except ImportError as error:
        return {**rows, "C++ core": f"cannot be loaded: {error}"}
    for backend in core.backends():
        name = backend["name"]
        if not name.startswith("tensorrt"):
            continue
        if not backend["available"]:
            rows[f"{name} on gpu:0"] = f"cannot be used: {backend['error']}"
            continue
        try:
            device = core.describe_device(name, "gpu:0")
            memory = device["memory_bytes"] / (1 << 30)
            cuda = f"driver for CUDA {device['driver']}, plug-in built with {device['runtime']}"
            rows[f"{name} on gpu:0"] = f"{device['name']}, sm_{device['sm']}, {memory:.1f} GiB, {cuda}"
        except core.Error as error:
            rows[f"{name} on gpu:0"] = f"cannot be used: {error}"
    if len(rows) == 1:
        rows["GPU backends"] = "none in this build: TensorRT plug-ins are built where TENSORRT_ROOT has its headers"
    ops = core.cuda_ops()
    rows["CUDA ops"] = (
        ops["path"] if ops["available"] else f"cannot be used, other work than networks is the CPU's: {ops['error']}"
    )
    return rows


def _driver_version() -> str:
    """The version of the kernel's NVIDIA driver."""
    try:
        first = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError):
        return "none"
    return first.removeprefix("NVRM version:").strip()


def _cache() -> dict[str, Any]:
    """Where downloads and converted models are kept, and what they take."""
    try:
        weights = importlib.import_module("instseg_rt.official_weights")
    except ImportError as error:
        return {"folder": f"not known: {error}"}
    folder: Path = weights.cache_folder()
    rows: dict[str, Any] = {"folder": f"{folder} (INSTSEG_CACHE names another)"}
    for kind in ("weights", "bundles"):
        files = [path for path in (folder / kind).rglob("*") if path.is_file()]
        rows[kind] = f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB"
    return rows


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_info() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty on systems without it."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _extra(packages: tuple[str, ...]) -> str:
    versions = {name: _version(name) for name in packages}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return f"not available: {', '.join(missing)} not installed"
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _runtime() -> tuple[dict[str, Any], str]:
    """Rows about the C++ core, its backends and the embedded bundles, and whether a bundle could be run."""
    try:
        core = importlib.import_module("instseg_rt._core")
        backends = importlib.import_module("instseg_rt.backend").backends()
        embedded = importlib.import_module("instseg_rt.embedded")
    except ImportError as error:
        return {"C++ core": f"cannot be loaded: {error}"}, _NOT_USABLE
    rows: dict[str, Any] = {"C++ core": core.version()}
    for backend in backends:
        state = backend["version"] if backend["available"] else f"cannot be used: {backend['error']}"
        rows[f"backend {backend['name']}"] = f"{state} ({backend['path'] or 'in Python; where it is named'})"
        if backend["name"] == "openvino" and backend["available"]:
            rows["convolutions in fp32"] = _convolutions(core)
    if all(backend["path"] is None for backend in backends):
        rows["backends"] = "no plug-in found: INSTSEG_PLUGIN_PATH may name the folder of the plug-ins"
    for name, path in embedded.embedded_bundles().items():
        try:
            info = core.load_bundle(str(path))
            rows[f"embedded bundle {name}"] = f"{info.model}, {len(info.labels)} classes, intact"
        except core.Error as error:
            rows[f"embedded bundle {name}"] = f"damaged: {error}"
    if not embedded.embedded_bundles():
        rows["embedded bundle"] = "none"
    return rows, _verdict([backend for backend in backends if backend["available"]])


def _convolutions(core: Any) -> str:
    """Whose they are: the OpenVINO plug-in's own, with which instructions, or OpenVINO's, and why."""
    wishes = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    for name, wish in wishes.items():
        if wish not in ("0", "1"):
            return f"cannot be run: the environment variable {name} is '{wish}', expected 0 or 1"
    asked = "".join(f" ({name}={wish})" for name, wish in wishes.items())
    try:
        instruction_sets = core.describe_device("openvino", "cpu")["runtime"].split()
    except core.Error as error:
        return f"not known: {error}{asked}"
    if not instruction_sets:
        return f"OpenVINO's own: this processor has neither AVX2 nor AVX-512{asked}"
    if wishes.get(_WINOGRAD_VARIABLE) == "0":
        return f"OpenVINO's own{asked}"
    if wishes.get(_MATRIX_UNIT_VARIABLE) == "0":
        instruction_sets = [each for each in instruction_sets if each != _MATRIX_UNIT]
    return f"the plug-in's own, with {' and '.join(instruction_sets)}{asked}"


def _verdict(available: list[Any]) -> str:
    if any(backend["path"] is not None for backend in available):
        return _USABLE
    if available:
        return f"bundles can be run here with --backend {available[0]['name']} only: see Runtime"
    return _NOT_USABLE
