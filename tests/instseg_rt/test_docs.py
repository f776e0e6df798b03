"""The Python, C++ and C snippets of the pages, run or compiled as they stand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import pytest

import instseg_rt as rt
from instseg_rt.scenes import render_scene

ROOT = Path(__file__).parents[2]
PYTHON_PAGES = ("README.md", "docs/python.md")
NATIVE_PAGES = ("README.md", "docs/cpp.md")

# What the native snippets take for granted.
_PARAMETERS = "const unsigned char* pixels, int height, int width, long stride"


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def snippets(pages: tuple[str, ...], *languages: str) -> list[object]:
    return [
        pytest.param(language, snippet, id=f"{page}-{language}-{number}")
        for page in pages
        for language in languages
        for number, snippet in enumerate(blocks(page, language))
    ]


@pytest.mark.parametrize(("language", "snippet"), snippets(PYTHON_PAGES, "python"))
def test_python(language: str, snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "onnxruntime" in snippet:
        pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(rt.default_bundle(), "my.bundle")
    picture = render_scene(3, 320, 320).image[:, :, ::-1]
    Path("frames").mkdir()
    for name in ("photo.jpg", "a.jpg", "b.jpg", "frames/0.png"):
        cv2.imwrite(name, picture)
    video = cv2.VideoWriter("clip.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10, (320, 320))
    video.write(picture)
    video.release()
    (configuration,) = blocks("docs/python.md", "yaml")
    Path("instance_segmentation.yaml").write_text(configuration)
    variables: dict[str, object] = {}
    exec(compile(snippet, language, "exec"), variables)
    found = variables.get("result", variables.get("res"))
    assert isinstance(found, rt.Result) or "predictor" in variables
    if isinstance(found, rt.Result):
        assert len(found) > 0


@pytest.mark.parametrize(("language", "snippet"), snippets(NATIVE_PAGES, "cpp", "c"))
def test_native(language: str, snippet: str, tmp_path: Path) -> None:
    compiler = shutil.which(os.environ.get("CXX", "c++") if language == "cpp" else os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip(f"needs a compiler for {language}")
    lines = snippet.splitlines()
    includes = [line for line in lines if line.startswith("#include")]
    body = [line for line in lines if not line.startswith("#include")]
    source = tmp_path / f"snippet.{language}"
    source.write_text("\n".join(["#include <stdio.h>", *includes, f"void use({_PARAMETERS}) {{", *body, "}\n"]))
    standard = "c++20" if language == "cpp" else "c99"
    arguments = [f"-std={standard}", "-Wall", "-Werror", "-Wno-unused-variable", "-fsyntax-only"]
    process = subprocess.run(
        [compiler, *arguments, "-I", str(ROOT / "cpp" / "include"), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr


def test_there_are_snippets() -> None:
    assert len(snippets(PYTHON_PAGES, "python")) >= 6
    assert len(snippets(NATIVE_PAGES, "cpp", "c")) >= 3
