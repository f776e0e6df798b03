"""The scripted backend, registered once per process: a name cannot be given back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from instseg_rt.backend import register_backend
from instseg_rt.predictor import Predictor

from .scripted import NAME, Script, current, scripted


@pytest.fixture(scope="session", autouse=True)
def registered() -> None:
    register_backend(NAME, scripted, version="1.5")


@pytest.fixture
def script() -> Script:
    current.script = Script()
    return current.script


@pytest.fixture
def predictor(script: Script, tiny_bundle: Path) -> Iterator[Predictor]:
    with Predictor(tiny_bundle, backend=NAME, threads=1) as instance:
        yield instance
