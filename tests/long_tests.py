"""Tests that take minutes each run on request only."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest

LONG_TESTS = "INSTSEG_LONG_TESTS"

LONG_TESTS_WANTED = os.environ.get(LONG_TESTS) == "1"

on_request = pytest.mark.skipif(not LONG_TESTS_WANTED, reason=f"takes minutes; {LONG_TESTS}=1 runs it")


def with_long_ones(always: Iterable[str], on_request_only: Iterable[str]) -> list[object]:
    """Parameters of a test: these always, those on request."""
    return [*always, *(pytest.param(name, marks=on_request) for name in on_request_only)]
