"""A backend in Python that does what a test tells it to, and the tiny network by hand."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from instseg_rt.backend import Session, SessionOptions, TensorInfo

from ...tiny_bundle import ANCHORS, CELL, OUTPUT_SHAPES, PROTOTYPE_STRIDE, SIDE, cell_boxes

Arrays = dict[str, np.ndarray]
NAME = "scripted"


def tiny_network(inputs: Arrays) -> Arrays:
    """The graph of tests/tiny_bundle.py, by hand."""

    def contrast(pixels: int) -> np.ndarray:
        image = inputs["image"].reshape(-1, 3, SIDE // pixels, pixels, SIDE // pixels, pixels)
        return np.einsum("oc,bcyx->boyx", 1.5 * np.eye(3) - 0.5, image.mean(axis=(3, 5)))

    cells = contrast(CELL).reshape(-1, 3, ANCHORS)
    outputs = {
        "boxes": np.broadcast_to(cell_boxes(), (len(cells), ANCHORS, 4)),
        "scores": 1 / (1 + np.exp(-10 * (cells - 0.5))),
        "mask_coefficients": np.maximum(cells, 0),
        "prototypes": 10 * (contrast(PROTOTYPE_STRIDE) - 0.5),
    }
    return {name: np.asarray(value, np.float32) for name, value in outputs.items()}


class Script:
    """A session that does what a test tells it to; the defaults are the tiny network."""

    def __init__(self) -> None:
        self.made: list[tuple[Path, SessionOptions]] = []
        self.sessions: list[weakref.ref[Any]] = []
        self.create: Callable[[], None] = lambda: None
        self.inputs: Callable[[], Any] = lambda: [TensorInfo("image", "float32", (None, 3, SIDE, SIDE))]
        self.outputs: Callable[[], Any] = lambda: [
            TensorInfo(name, "float32", (None, *shape)) for name, shape in OUTPUT_SHAPES.items()
        ]
        self.run: Callable[[Arrays], Any] = tiny_network

    def factory(self, path: Path, options: SessionOptions) -> Session:
        self.create()
        self.made.append((path, options))

        session = ScriptedSession(self)
        self.sessions.append(weakref.ref(session))
        return session


class ScriptedSession:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.inputs, self.outputs = script.inputs, script.outputs

    def run(self, inputs: Arrays) -> Any:
        return self.script.run(inputs)


current = SimpleNamespace(script=Script())


def scripted(path: Path, options: SessionOptions) -> Session:
    return current.script.factory(path, options)
