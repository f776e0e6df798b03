"""Engines of a bundle: what the runtime reads of them, and what `instseg inspect` says."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml

import instseg_rt as rt
from instseg_rt import _core
from instseg_rt.cli import main

_PLAN = b"not really a plan"


def write_engine(bundle: Path, **changes: Any) -> Path:
    """Add an engine of the stage to a bundle, its header with these changes."""
    manifest = yaml.safe_load((bundle / "manifest.yaml").read_text())
    stage = manifest["stages"][0]
    header = {
        "format": 1,
        "backend": "tensorrt",
        "backend_version": "10.13.3.9",
        "sm": 75,
        "precision": "fp32",
        "stage": stage["name"],
        "onnx_sha256": stage["sha256"],
        "source_sha256": stage["sha256"],
        "profiles": [{"image": {"min": [1, 3, 64, 64], "opt": [1, 3, 64, 64], "max": [4, 3, 64, 64]}}],
        "builder_options": {"workspace_bytes": 1 << 32, "strongly_typed": True},
        "plan_bytes": len(_PLAN),
        "plan_sha256": hashlib.sha256(_PLAN).hexdigest(),
        **changes,
    }
    text = json.dumps(header).encode()
    data = b"ISRTENG1" + struct.pack("<Q", len(text)) + text
    data += bytes(-len(data) % 64) + _PLAN
    file = bundle / "engines" / "model-tensorrt-10.13.3.9-sm75-fp32.engine"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
    key = {"backend": "tensorrt", "backend_version": "10.13.3.9", "sm": 75, "precision": "fp32"}
    entry = {"file": f"engines/{file.name}", **key, "onnx_sha256": stage["sha256"], "size": len(data)}
    stage["engines"] = [entry]
    (bundle / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    return file


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "my.bundle"))


def inspect(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["inspect", *map(str, arguments)])
    return code, out.getvalue(), err.getvalue()


def test_engines_are_shown(bundle: Path) -> None:
    file = write_engine(bundle)
    code, out, _ = inspect(bundle)
    assert code == 0
    assert "stage model, TensorRT 10.13.3.9, sm_75, fp32, 0.0 MiB, takes 1 to 4" in out
    code, out, _ = inspect(bundle, "--verify")
    assert code == 0
    assert "sha256 verified" in out
    engine = json.loads(inspect(bundle, "--json", "--verify")[1])["engines"][0]
    assert (engine["file"], engine["sm"], engine["verified"], engine["problem"]) == (str(file), 75, True, None)
    spec = _core.load_bundle(bundle).stages[0].engines[0]
    assert (spec.file, spec.size, spec.precision) == (file, file.stat().st_size, "fp32")
    assert _core.read_engine(file)["profiles"][0]["image"]["max"] == [4, 3, 64, 64]


def test_a_bundle_without_engines(bundle: Path) -> None:
    code, out, _ = inspect(bundle, "--verify")
    assert code == 0
    assert "instseg-export builds engines" in out


def test_a_damaged_plan_is_found_by_verify(bundle: Path) -> None:
    file = write_engine(bundle)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert "cannot be used" not in inspect(bundle)[1]
    code, out, err = inspect(bundle, "--verify")
    assert code == 1
    assert "cannot be used" in out
    assert "1 of 1 engines cannot be used" in err
    assert "sha256 of its plan" in err
    with pytest.raises(rt.BadBundleError, match="sha256 of its plan"):
        _core.read_engine(file, verify=True)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sm": 86}, "its header says sm 86, the manifest 75"),
        ({"backend_version": "10.14.1.48"}, "its header says backend_version 10.14.1.48, the manifest 10.13.3.9"),
        ({"stage": "mask_head"}, "its header says stage mask_head, the manifest model"),
        ({"source_sha256": "0" * 64}, "built from another model"),
        ({"format": 2}, "'format' of its header must be 1"),
        ({"plan_bytes": 18}, "its plan has 17 bytes, its header says 18"),
    ],
)
def test_an_engine_that_is_not_what_the_manifest_says(bundle: Path, changes: dict[str, Any], problem: str) -> None:
    write_engine(bundle, **changes)
    code, out, _ = inspect(bundle)
    assert code == 0
    assert problem in out
    assert inspect(bundle, "--verify")[0] == 1


def test_files_that_are_missing_or_not_listed(bundle: Path) -> None:
    file = write_engine(bundle)
    file.rename(file.with_name("other.engine"))
    _, out, _ = inspect(bundle)
    assert "cannot read" in out
    assert "other.engine, cannot be used: the manifest does not list it" in out


def test_the_cpu_does_not_need_the_engines(bundle: Path) -> None:
    write_engine(bundle).unlink()
    assert rt.Predictor(bundle).labels == ["red", "green", "blue"]
    with pytest.raises(rt.UnsupportedError, match="'gpu:0'"):
        rt.Predictor(bundle, device="gpu:0")


def test_a_backend_without_statistics(bundle: Path) -> None:
    assert _core.Predictor(bundle).statistics() == []
