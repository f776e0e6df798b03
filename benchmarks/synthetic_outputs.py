"""Network outputs that show many objects, without a network: what the native code behind one has to do.

Every mask is a soft ellipse, the logit a paraboloid. It is a sum of five planes (1, u, v, u^2, v^2), so prototypes,
dynamic kernels and query embeddings can all describe it exactly; the other channels hold noise with weight zero.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from instseg_rt.backend import SessionOptions, TensorInfo

Array = NDArray[np.float32]
CLASSES = 80
NETWORK_SIDE = 640  # of models that stretch images
SHORT_SIDE, LONG_SIDE, PAD_STRIDE = 800, 1333, 32
STEEPNESS = 4.0  # logit at the centre of an ellipse


@dataclass(frozen=True)
class Objects:
    """Ellipses in parts of the image: centre x, y and half axes, (N, 2) each."""

    centres: Array
    radii: Array

    @classmethod
    def on_grid(cls, count: int, aspect: float, seed: int = 0) -> Objects:
        """Centres on a jittered grid; half axes from 1/60 to 1/8 of the image's height, equal in pixels on average.

        aspect: width over height of the image.
        """
        rng = np.random.default_rng(seed)
        columns = int(np.ceil(np.sqrt(count)))
        index = np.arange(count)
        cells = np.stack([index % columns, index // columns], axis=1)
        centres = (cells + rng.uniform(0.3, 0.7, size=(count, 2))) / columns
        sizes = np.exp(rng.uniform(np.log(1 / 60), np.log(1 / 8), size=(count, 1)))
        radii = sizes * rng.uniform(0.7, 1.4, size=(count, 2)) * [1 / aspect, 1]
        return cls(centres.astype(np.float32), radii.astype(np.float32))

    def boxes(self) -> Array:
        """(N, 4) x1, y1, x2, y2 in parts of the image."""
        return np.concatenate([self.centres - self.radii, self.centres + self.radii], axis=1)

    def weights(self, channels: int) -> Array:
        """(N, channels): of the planes."""
        cu, cv = self.centres.T
        a, b = 1 / self.radii.T**2
        weights = np.zeros((len(cu), channels), np.float32)
        weights[:, :5] = STEEPNESS * np.stack([1 - a * cu**2 - b * cv**2, 2 * a * cu, 2 * b * cv, -a, -b], axis=1)
        return weights


def planes(channels: int, height: int, width: int, shown_height: float, shown_width: float) -> Array:
    """(channels, height, width); shown: the cells that show the image, the rest is padding."""
    u = np.broadcast_to((np.arange(width) + 0.5) / shown_width, (height, width))
    v = np.broadcast_to(((np.arange(height) + 0.5) / shown_height)[:, None], (height, width))
    result = np.random.default_rng(1).standard_normal((channels, height, width), np.float32)
    result[:5] = np.stack([np.ones_like(u), u, v, u * u, v * v])
    return result


@dataclass(frozen=True)
class Stage:
    """One stage and its outputs; input_axes, axes: of the manifest. Heads of RoIs have the outputs of all RoIs."""

    name: str
    input: TensorInfo
    outputs: dict[str, Array]
    axes: dict[str, tuple[str | int, ...]]
    input_axes: tuple[str | int, ...]


@dataclass(frozen=True)
class SyntheticModel:
    """A bundle whose stages give `Stage.outputs`."""

    family: str
    input: dict[str, Any]
    decode: dict[str, Any]
    stages: tuple[Stage, ...]

    def write(self, folder: Path) -> Path:
        """The bundle; its stage files are empty, since no network is read."""
        (folder / "stages").mkdir(parents=True)
        entries = []
        for stage in self.stages:
            file = folder / "stages" / f"{stage.name}.onnx"
            file.write_bytes(b"")
            entries.append(
                {
                    "name": stage.name,
                    "file": f"stages/{file.name}",
                    "sha256": hashlib.sha256(b"").hexdigest(),
                    "inputs": [
                        {"name": stage.input.name, "dtype": "float32", "shape": list(stage.input_axes)},
                    ],
                    "outputs": [
                        {"name": name, "dtype": "float32", "shape": list(axes)} for name, axes in stage.axes.items()
                    ],
                }
            )
        manifest = {
            "schema_version": 1,
            "model": f"synthetic-{self.family}",
            "family": self.family,
            "labels": [f"class {index}" for index in range(CLASSES)],
            "category_ids": list(range(1, CLASSES + 1)),
            "input": {"color": "rgb", "interpolation": "linear", "scale": 1 / 255, "mean": [0, 0, 0], "std": [1, 1, 1]}
            | self.input,
            "batch": {"min": 1, "opt": 1, "max": 1},
            "stages": entries,
            "decode": self.decode,
            "threshold": 0.3,
        }
        (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
        return folder


class SyntheticBackend:
    """Sessions that give a model's outputs. Rows of RoI heads continue from run to run, since RoIs come in chunks."""

    def __init__(self, model: SyntheticModel) -> None:
        self._stages = {stage.name: stage for stage in model.stages}
        self._rows: dict[str, int] = {}

    def __call__(self, path: Path, _options: SessionOptions) -> _Session:
        return _Session(self, self._stages[path.stem])

    def outputs(self, stage: Stage, rows: int) -> dict[str, Array]:
        if stage.input_axes[0] == "batch":
            self._rows.clear()
            return stage.outputs
        start = self._rows.get(stage.name, 0)
        self._rows[stage.name] = start + rows
        return {name: _rows(array, start, rows) for name, array in stage.outputs.items()}


class _Session:
    def __init__(self, backend: SyntheticBackend, stage: Stage) -> None:
        self._backend = backend
        self._stage = stage

    def inputs(self) -> list[TensorInfo]:
        return [self._stage.input]

    def outputs(self) -> list[TensorInfo]:
        return [
            TensorInfo(name, "float32", tuple(size if isinstance(size, int) else None for size in axes))
            for name, axes in self._stage.axes.items()
        ]

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        return self._backend.outputs(self._stage, len(inputs[self._stage.input.name]))


def _rows(array: Array, start: int, count: int) -> Array:
    """Rows [start, start + count); behind the last one it goes on with the last one."""
    if start + count <= len(array):
        return array[start : start + count]
    return array[np.minimum(np.arange(start, start + count), len(array) - 1)]
