"""A bundle that is there already: its manifest, read and changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from instseg_rt.errors import Error
from instseg_rt.files import file_sha256, write_atomically

from .bundle_files import MANIFEST
from .errors import ExportError


def is_bundle(path: Path) -> bool:
    return (path / MANIFEST).is_file()


def read_manifest(bundle: Path) -> dict[str, Any]:
    """The manifest, with the keys that engines and typed stages need; raises `ExportError` for another file."""
    try:
        manifest = yaml.safe_load((bundle / MANIFEST).read_text(encoding="utf-8"))
        if manifest["schema_version"] != 1:
            raise ExportError(f"{bundle / MANIFEST}: schema version {manifest['schema_version']}, expected 1")
        for stage in manifest["stages"]:
            stage["name"], stage["file"], stage["sha256"], stage["inputs"], stage["outputs"]
        manifest["family"], manifest["input"], manifest["batch"], manifest["decode"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ExportError(f"{bundle / MANIFEST}: cannot be read as a bundle's manifest: {error!r}") from error
    result: dict[str, Any] = manifest
    return result


def made_of(bundle: Path) -> str:
    """What a bundle holds beside its float32 stages, in words: "int8 stages, engines". Empty where that is nothing, or
    there is no bundle that can be read.
    """
    try:
        stages = read_manifest(bundle)["stages"]
        precisions = sorted({str(entry["precision"]) for stage in stages for entry in stage.get("typed") or ()})
        engines = any(stage.get("engines") for stage in stages)
    except (ExportError, AttributeError, KeyError, TypeError):
        return ""
    kinds = [f"{precision} stages" for precision in precisions]
    return ", ".join(kinds + ["engines"] * engines)


def update_manifest(bundle: Path, manifest: dict[str, Any]) -> None:
    """Puts a new manifest in the place of the old one."""
    text = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True)
    write_atomically(bundle / MANIFEST, text.encode())


def stage_file(bundle: Path, stage: dict[str, Any]) -> Path:
    """The stage's ONNX file; raises `ExportError` where it is not what the manifest says."""
    file = bundle / stage["file"]
    try:
        found = file_sha256(file)
    except Error as error:
        raise ExportError(str(error)) from error
    if found != stage["sha256"]:
        raise ExportError(f"{file}: damaged: its sha256 is not the manifest's: export the bundle again")
    return file
