"""Engine files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from instseg_export.engines.engine_file import EngineKey, read_key, write_engine
from instseg_export.errors import ExportError

PLAN = bytes(range(256)) * 5
KEY = EngineKey(
    backend="tensorrt_rtx",
    backend_version="1.7.1.116",
    sm=75,
    precision="fp16",
    stage="model",
    onnx_sha256="ab" * 32,
    source_sha256="cd" * 32,
    profiles=[{"image": {"min": [1, 3, 64, 64], "opt": [1, 3, 64, 64], "max": [8, 3, 64, 64]}}],
    builder_options={"tf32": False, "workspace_bytes": 1 << 30},
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "engines" / KEY.file_name
    write_engine(path, KEY, memoryview(PLAN))
    return path


def test_layout(file: Path) -> None:
    assert file.name == "model-tensorrt_rtx-1.7.1.116-sm75-fp16.engine"
    data = file.read_bytes()
    assert data[:8] == b"ISRTENG1"
    length = int.from_bytes(data[8:16], "little")
    header = json.loads(data[16 : 16 + length])
    start = len(data) - len(PLAN)
    assert start % 64 == 0
    assert 0 <= start - (16 + length) < 64
    assert not any(data[16 + length : start])
    assert data[start:] == PLAN
    assert header == {
        "format": 1,
        "backend": "tensorrt_rtx",
        "backend_version": "1.7.1.116",
        "sm": 75,
        "precision": "fp16",
        "stage": "model",
        "onnx_sha256": "ab" * 32,
        "source_sha256": "cd" * 32,
        "profiles": KEY.profiles,
        "builder_options": KEY.builder_options,
        "plan_bytes": len(PLAN),
        "plan_sha256": hashlib.sha256(PLAN).hexdigest(),
    }
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_key_comes_back(file: Path) -> None:
    assert read_key(file) == KEY


@pytest.mark.parametrize("size", [0, 7, 15, 16, 40, 700, -1])
def test_a_file_that_is_cut_off_is_refused(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ExportError, match=file.name):
        read_key(file)


@pytest.mark.parametrize(
    ("where", "what"),
    [(0, b"X"), (8, b"\0" * 8), (8, b"\xff" * 8), (16, b"["), (20, b"\xff")],
    ids=["magic", "no header", "huge header", "no object", "no text"],
)
def test_a_damaged_header_is_refused(file: Path, where: int, what: bytes) -> None:
    data = bytearray(file.read_bytes())
    data[where : where + len(what)] = what
    file.write_bytes(data)
    with pytest.raises(ExportError, match=file.name):
        read_key(file)
