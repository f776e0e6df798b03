"""Prints NAME=folder for each wheel of this Python environment that brings what the C++ build can use."""

from __future__ import annotations

import sys
from pathlib import Path

# Name, path to look for, the folder to report relative to the entry of the search path.
WHEELS = [
    ("OPENVINO", "openvino/cmake/OpenVINOConfig.cmake", "openvino/cmake"),
    ("CMEEL", "cmeel.prefix/lib/cmake/yaml-cpp", "cmeel.prefix"),
    ("GTEST", "src/gtest_vendor/src/gtest-all.cc", "src/gtest_vendor"),
]


def main() -> None:
    # An isolated build environment has its packages on sys.path only; its prefix is three levels above them.
    entries = [Path(entry) for entry in sys.path if entry]
    prefixes = [Path(sys.prefix), *(entry.parents[2] for entry in entries if len(entry.parents) > 2)]
    for name, marker, folder in WHEELS:
        found = next((root for root in [*entries, *prefixes] if (root / marker).exists()), None)
        if found is not None:
            print(f"{name}={(found / folder).as_posix()}")


main()
