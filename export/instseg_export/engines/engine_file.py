"""Engine files: a header that says what the engine is for, then TensorRT's plan. See docs/bundle.md."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from instseg_rt.errors import IoError

from ..errors import ExportError

MAGIC = b"ISRTENG1"
FORMAT = 1
_ALIGNMENT = 64
_LARGEST_HEADER = 1 << 20


@dataclass(frozen=True)
class EngineKey:
    """What an engine was made of and for: with the same key it need not be built again.

    sm: compute capability, 75. onnx_sha256: of the ONNX file that was built; source_sha256: of the bundle's float32
    stage, the same file for fp32. profiles: each {input: {"min": shape, "opt": shape, "max": shape}}.
    builder_options: numbers, text and booleans.
    """

    backend: str
    backend_version: str
    sm: int
    precision: str
    stage: str
    onnx_sha256: str
    source_sha256: str
    profiles: list[dict[str, dict[str, list[int]]]]
    builder_options: dict[str, Any] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        return f"{self.stage}-{self.backend}-{self.backend_version}-sm{self.sm}-{self.precision}.engine"


def write_engine(file: Path, key: EngineKey, plan: memoryview) -> None:
    """Under a temporary name first, then renamed; raises `IoError`."""
    header = {
        "format": FORMAT,
        **asdict(key),
        "plan_bytes": plan.nbytes,
        "plan_sha256": hashlib.sha256(plan).hexdigest(),
    }
    text = json.dumps(header, allow_nan=False).encode()
    start = MAGIC + len(text).to_bytes(8, "little") + text
    padding = bytes(-len(start) % _ALIGNMENT)
    write_parts(file, (start, padding, plan))


def write_parts(file: Path, parts: tuple[bytes | memoryview, ...]) -> None:
    """One part after the other, atomically and without a copy of them all."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as stream:
                for part in parts:
                    stream.write(part)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise IoError(f"{file}: cannot be written: {error.strerror or error}") from error


def read_key(file: Path) -> EngineKey:
    """The key of an engine file whose lengths are right; raises `ExportError` for any other file."""
    try:
        with file.open("rb") as stream:
            start = stream.read(16)
            length = int.from_bytes(start[8:16], "little")
            if start[:8] != MAGIC or not 0 < length <= _LARGEST_HEADER:
                raise ExportError(f"{file}: no engine file")
            header = json.loads(stream.read(length))
            offset = -(-(16 + length) // _ALIGNMENT) * _ALIGNMENT
            if header["format"] != FORMAT or file.stat().st_size != offset + header["plan_bytes"]:
                raise ExportError(f"{file}: of another format, or cut off")
            return EngineKey(**{entry.name: header[entry.name] for entry in fields(EngineKey)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{file}: no engine file: {error!r}") from error
