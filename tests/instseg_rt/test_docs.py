"""The snippets of docs/python.md, run as they stand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import pytest

import instseg_rt as rt
from instseg_rt.scenes import render_scene

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("snippet", blocks("python"))
def test_snippet(snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "onnxruntime" in snippet:
        pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(rt.default_bundle(), "my.bundle")
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        cv2.imwrite(name, render_scene(3, 320, 320).image[:, :, ::-1])
    (configuration,) = blocks("yaml")
    Path("instance_segmentation.yaml").write_text(configuration)
    variables: dict[str, object] = {}
    exec(compile(snippet, PAGE.name, "exec"), variables)
    found = variables.get("result", variables.get("res"))
    assert isinstance(found, rt.Result) or "predictor" in variables
    if isinstance(found, rt.Result):
        assert len(found) > 0


def test_there_are_snippets() -> None:
    assert len(blocks("python")) >= 5
