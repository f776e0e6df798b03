"""A stand-in for the export, in the processes that convert weights: no Paddle (but where it crashes), the tiny
bundle as result.

`use` makes the Python processes that are started later call `install` first; variables of the environment say how it
behaves there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

_BEHAVIOUR, _LOG = "FAKE_EXPORT", "FAKE_EXPORT_LOG"


@dataclasses.dataclass(frozen=True)
class FakeExport:
    """log: gets a line of JSON for each call."""

    log: Path
    environment: pytest.MonkeyPatch

    def behave(self, how: str) -> None:
        """How the next exports end: see `_fail`."""
        self.environment.setenv(_BEHAVIOUR, how)

    @property
    def calls(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]


def use(folder: Path, environment: pytest.MonkeyPatch) -> FakeExport:
    start = folder / "start" / "sitecustomize.py"
    start.parent.mkdir()
    root = Path(__file__).parents[2]
    lines = [f"import sys; sys.path.insert(0, {str(root)!r})", "from tests.instseg_rt import fake_export"]
    start.write_text("\n".join([*lines, "fake_export.install()"]))
    # First of all, before a sitecustomize of the installation; processes that convert get this path from their parent.
    environment.syspath_prepend(str(start.parent))
    environment.setenv("PYTHONPATH", os.pathsep.join([str(start.parent), *sys.path]))
    environment.setenv(_LOG, str(folder / "calls.jsonl"))
    environment.setenv(_BEHAVIOUR, "well")
    return FakeExport(folder / "calls.jsonl", environment)


def install() -> None:
    if os.environ[_BEHAVIOUR] == "without onnx":
        sys.modules["onnx"] = None  # type: ignore[assignment]
        return
    if "instseg_rt.conversion" in sys.orig_argv and os.environ[_BEHAVIOUR] != "crash":  # Paddle reports a crash
        sys.modules["paddle"] = ModuleType("paddle")
    module = ModuleType("instseg_export.exporter")
    fields = ["model", "weights", "output", ("labels", Any, None), ("image_size", Any, None)]
    module.ExportOptions = dataclasses.make_dataclass("ExportOptions", fields)  # type: ignore[attr-defined]
    module.export_bundle = _export_bundle  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module


def _export_bundle(options: Any, say: Any) -> None:
    from instseg_rt.official_weights import find_weights

    from ..tiny_bundle import write_tiny_bundle

    weights = find_weights(options.weights, options.model, say)
    labels = options.labels and json.loads(options.labels.read_text())
    call = {"model": options.model, "weights": str(options.weights), "labels": labels, "size": options.image_size}
    with Path(os.environ[_LOG]).open("a") as log:
        log.write(json.dumps(call) + "\n")
    assert weights.is_file()
    temporary = options.output.with_name(f".{options.output.name}.{os.getpid()}.tmp")
    write_tiny_bundle(temporary)
    _fail(os.environ[_BEHAVIOUR])
    manifest = yaml.safe_load((temporary / "manifest.yaml").read_text())
    (temporary / "manifest.yaml").write_text(yaml.safe_dump(manifest | {"model": options.model}))
    temporary.rename(options.output)


def _fail(how: str) -> None:
    from instseg_export.errors import ExportError
    from instseg_rt.errors import IoError

    errors = {
        "ExportError": ExportError("this version cannot export models of family x"),
        "ValueError": ValueError("no\nsuch"),
        "OSError": OSError(28, "No space left on device"),
        "IoError": IoError("the server"),
        "missing package": ModuleNotFoundError("x", name="paddle2onnx"),
        "fault": ZeroDivisionError("a fault"),
    }
    if how in errors:
        raise errors[how]
    if how == "crash":
        print("the last words", file=sys.stderr, flush=True)
        os.abort()
    if how.startswith("sleep"):
        time.sleep(float(how.removeprefix("sleep")))
