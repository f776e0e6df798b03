"""Device strings."""

from __future__ import annotations

import re

from instseg_rt.errors import InvalidArgumentError, UnsupportedError

_DEVICE = re.compile(r"(cpu|gpu|cuda)(?::(\d+))?")


def parse_device(device: str, backend: str | None = None) -> str:
    """The runtime's name of a device, "cpu" or "gpu:<index>", given as "cpu", "gpu", "gpu:0" or "cuda:0".

    backend: the one that was asked for; it says itself whether it has a GPU.
    Raises `InvalidArgumentError` for other strings, and `UnsupportedError` for a GPU where no backend is named: no
    plug-in of this build has one.
    """
    match = _DEVICE.fullmatch(device.strip().lower()) if isinstance(device, str) else None
    if match is None or (match[1] == "cpu" and match[2] not in (None, "0")):
        raise InvalidArgumentError(f"device: expected cpu, gpu, gpu:<index> or cuda:<index>, found {device!r}")
    if match[1] == "cpu":
        return "cpu"
    if backend is None:
        raise UnsupportedError(
            f"device {device!r}: no GPU backend is part of this build of instseg-rt: use device='cpu', or "
            "backend='onnxruntime' with the package onnxruntime-gpu"
        )
    return f"gpu:{int(match[2] or 0)}"
