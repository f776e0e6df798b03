"""Device strings."""

from __future__ import annotations

import re

from instseg_rt.errors import InvalidArgumentError

_DEVICE = re.compile(r"(cpu|gpu|cuda)(?::(\d+))?")


def parse_device(device: str) -> str:
    """The runtime's name of a device, "cpu" or "gpu:<index>", given as "cpu", "gpu", "gpu:0" or "cuda:0".

    Whether there is such a GPU, and what can use it, the backends say when they are asked for it.
    Raises `InvalidArgumentError` for other strings.
    """
    match = _DEVICE.fullmatch(device.strip().lower()) if isinstance(device, str) else None
    if match is None or (match[1] == "cpu" and match[2] not in (None, "0")):
        raise InvalidArgumentError(f"device: expected cpu, gpu, gpu:<index> or cuda:<index>, found {device!r}")
    return "cpu" if match[1] == "cpu" else f"gpu:{int(match[2] or 0)}"
