"""Load a backend plug-in with the library that it needs, and ask it what it is: load_plugin.py LIBRARY PLUGIN."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

_HEADER = Path(__file__).parents[1] / "cpp" / "src" / "backends" / "plugin_api.h"


class _Message(ctypes.Structure):
    _fields_ = (("text", ctypes.c_char_p), ("size", ctypes.c_size_t))


class _DeviceInfo(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        ("name", ctypes.c_char * 128),
        ("sm", ctypes.c_int32),
        ("memory_bytes", ctypes.c_uint64),
        ("driver", ctypes.c_char * 32),
        ("runtime", ctypes.c_char * 32),
    )


_Describe = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_char_p, ctypes.POINTER(_DeviceInfo), ctypes.POINTER(_Message))


class _Backend(ctypes.Structure):
    _fields_ = (
        ("abi_version", ctypes.c_uint32),
        ("struct_size", ctypes.c_size_t),
        ("name", ctypes.c_char_p),
        ("version", ctypes.c_char_p),
        ("functions", ctypes.c_void_p * 8),
        ("features", ctypes.c_uint32),
        ("device_describe", _Describe),
        ("session_statistics", ctypes.c_void_p),
        ("context_enqueue", ctypes.c_void_p),
        ("context_stream", ctypes.c_void_p),
    )


def main() -> int:
    """Print the plug-in's name, its library's version and what it says about the first GPU."""
    library, plugin = sys.argv[1:]
    ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    entry = ctypes.CDLL(plugin).instseg_backend_entry
    entry.restype = ctypes.POINTER(_Backend)
    match = re.search(r"INSTSEG_BACKEND_ABI_VERSION (\d+)u", _HEADER.read_text(encoding="utf-8"))
    if match is None:
        raise SystemExit(f"{_HEADER} names no interface version")
    version = int(match[1])
    if entry(version + 1) or not entry(version):
        raise SystemExit(f"broken: the plug-in does not have interface version {version}, or another one too")
    backend = entry(version).contents
    if backend.struct_size != ctypes.sizeof(_Backend):
        raise SystemExit("broken: the plug-in's struct is not the one of plugin_api.h, or tools/load_plugin.py is old")
    print(f"loaded: {backend.name.decode()} {backend.version.decode()}, features {backend.features}")
    info = _DeviceInfo(struct_size=ctypes.sizeof(_DeviceInfo))
    text = ctypes.create_string_buffer(1024)
    message = _Message(ctypes.cast(text, ctypes.c_char_p), len(text))
    if backend.device_describe(b"gpu:0", ctypes.byref(info), ctypes.byref(message)) == 0:
        print(f"gpu:0: {info.name.decode()}, sm_{info.sm}, driver for CUDA {info.driver.decode()}")
    else:
        print(f"gpu:0: {text.value.decode()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
