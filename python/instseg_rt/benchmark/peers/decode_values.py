"""Numbers of a manifest's `decode`."""

from __future__ import annotations

from instseg_rt._core import BundleInfo
from instseg_rt.benchmark.errors import BenchmarkError


def number(bundle: BundleInfo, key: str) -> float:
    """A key that holds one number."""
    value = bundle.decode[key]
    if not isinstance(value, int | float):
        raise BenchmarkError(f"{bundle.path}: decode.{key}: expected a number, found {value!r}")
    return value


def number_list(bundle: BundleInfo, key: str) -> list[float]:
    """A key that holds several."""
    value = bundle.decode[key]
    if not isinstance(value, list):
        raise BenchmarkError(f"{bundle.path}: decode.{key}: expected a list of numbers, found {value!r}")
    return value
