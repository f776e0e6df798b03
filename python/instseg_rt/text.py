"""Text as pixels: OpenCV's own font for ASCII, a system font (through Pillow, if installed) for the rest."""

from __future__ import annotations

import functools
import os
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

_MAX_FONTS_TRIED = 300
_FONT_SUFFIXES = (".ttf", ".otf", ".ttc")
# Fonts with many scripts first; the others after them, by name.
_PREFERRED = (
    "notosanscjk",
    "sourcehansans",
    "wqy",
    "msyh",
    "pingfang",
    "unifont",
    "notosans",
    "dejavusans",
    "arial",
)
_MISSING_CHARACTER = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class TextImage:
    """Rendered text: `coverage` (height, width) uint8, 255 where ink is; `padding` pixels go around it."""

    coverage: np.ndarray
    padding: int

    @property
    def height(self) -> int:
        return int(self.coverage.shape[0])

    @property
    def width(self) -> int:
        return int(self.coverage.shape[1])

    @property
    def outer_height(self) -> int:
        """Height with the padding on both sides."""
        return self.height + 2 * self.padding

    @property
    def outer_width(self) -> int:
        """Width with the padding on both sides."""
        return self.width + 2 * self.padding


@functools.lru_cache(maxsize=512)
def render_text(texts: tuple[str, str], height: int) -> TextImage:
    """Render the first text at `height` pixels per line; the second (ASCII) where no font has the characters.

    Latin letters with accents lose them before that: a label is never drawn as question marks or empty boxes.
    """
    text, fallback = texts
    padding = max(1, height // 5)
    if not text.isascii():
        font = _system_font("".join(sorted({character for character in text if not character.isspace()})))
        if font is not None:
            return TextImage(_render_with_pillow(text, font, height), padding)
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = text if text.isascii() and text.isprintable() else fallback
    return TextImage(_render_with_opencv(text, height), padding)


def _render_with_opencv(text: str, height: int) -> np.ndarray:
    font = cv2.FONT_HERSHEY_SIMPLEX
    thickness = max(1, round(height / 13))
    # Measured, not getFontScaleFromHeight: OpenCV 5 draws this font with other glyphs than 4 does.
    scale = 0.68 * height / cv2.getTextSize("H", font, 1.0, thickness)[0][1]
    (width, above), below = cv2.getTextSize(text, font, scale, thickness)
    margin = thickness + 2
    canvas = np.zeros((above + below + 2 * margin, width + 2 * margin), np.uint8)
    cv2.putText(canvas, text, (margin, margin + above), font, scale, 255, thickness, cv2.LINE_AA)
    columns = np.flatnonzero(canvas.any(axis=0))
    if columns.size == 0:
        return np.zeros((height, 1), np.uint8)
    # Same line box for every text, so that labels have one height.
    canvas = canvas[:, columns[0] : columns[-1] + 1]
    top = margin + above + below // 2 - round(height * 0.86)
    lines = np.zeros((height, canvas.shape[1]), np.uint8)
    source = canvas[max(0, top) : max(0, top) + height]
    lines[: source.shape[0]] = source
    return lines


def _render_with_pillow(text: str, font_path: Path, height: int) -> np.ndarray:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(str(font_path), max(1, round(height * 0.85)))
    left, top, right, bottom = font.getbbox(text)
    canvas = Image.new("L", (max(1, round(right - left)), max(1, round(bottom - top))))
    ImageDraw.Draw(canvas).text((-left, -top), text, fill=255, font=font)
    return np.asarray(canvas)


@functools.lru_cache(maxsize=256)
def _system_font(characters: str) -> Path | None:
    """The first system font that has a glyph for every character; None without Pillow or such a font."""
    try:
        from PIL import ImageFont
    except ImportError:
        return None
    for path in _system_fonts():
        try:
            font = ImageFont.truetype(str(path), 16)
        except OSError:
            continue
        missing = _glyph(font, _MISSING_CHARACTER)
        if all(_glyph(font, character) != missing for character in characters):
            return path
    return None


def _glyph(font: Any, character: str) -> bytes:
    return bytes(font.getmask(character))


@functools.cache
def _system_fonts() -> tuple[Path, ...]:
    found = sorted(set(_font_files()), key=lambda path: (_preference(path), path.name))
    return tuple(found[:_MAX_FONTS_TRIED])


def _font_files() -> Iterator[Path]:
    for folder in _font_folders():
        for root, _, names in os.walk(folder):
            yield from (Path(root) / name for name in names if name.lower().endswith(_FONT_SUFFIXES))


def _font_folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"]
    return [
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        home / ".fonts",
        home / ".local/share/fonts",
    ]


def _preference(path: Path) -> int:
    name = path.name.lower().replace("-", "").replace("_", "")
    for rank, start in enumerate(_PREFERRED):
        if name.startswith(start):
            # Among one family's files the regular weight, then the shorter name.
            return rank * 100 + min(len(name) - len(start), 99)
    return len(_PREFERRED) * 100
