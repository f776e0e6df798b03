"""The entry `typed` of a stage in the manifest. Needs neither ONNX nor ONNX Runtime: engines are built without them."""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instseg_rt.files import file_sha256

CONVERTER_VERSION = 1
"""Raised where the same graph and islands come out differently."""


def typed_entry(bundle: Path, stage: Mapping[str, Any]) -> dict[str, Any] | None:
    """The stage's entry `typed` of the manifest for FP16, where its file is there, and made from this stage by this
    converter and these islands.
    """
    for entry in stage.get("typed") or []:
        file = bundle / str(entry.get("file"))
        if (
            entry.get("precision") == "fp16"
            and entry.get("source_sha256") == stage["sha256"]
            and entry.get("recipe") == recipe()
            and file.is_file()
            and file_sha256(file) == entry.get("sha256")
        ):
            return dict(entry)
    return None


def all_typed(bundle: Path, stages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every stage has its FP16 form."""
    return all(typed_entry(bundle, stage) for stage in stages)


def recipe() -> str:
    """Names the converter and its islands; it changes when either does."""
    text = importlib.resources.files(__package__).joinpath("islands.yaml").read_bytes()
    return f"{CONVERTER_VERSION}-{hashlib.sha256(text).hexdigest()[:12]}"
