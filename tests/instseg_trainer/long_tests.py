"""Tests that take minutes each run on request only."""

from __future__ import annotations

import os

import pytest

LONG_TESTS = "INSTSEG_LONG_TESTS"

on_request = pytest.mark.skipif(os.environ.get(LONG_TESTS) != "1", reason=f"takes minutes; {LONG_TESTS}=1 runs it")
