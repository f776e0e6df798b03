"""The files of a bundle."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

MANIFEST = "manifest.yaml"


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    text = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True)
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def replace_folder(new: Path, target: Path) -> None:
    """Puts `new` in the place of `target`; the old bundle is there until the new one is complete."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def bundle_size(folder: Path) -> int:
    """Bytes of all files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
