"""The reference's seeded models as `.pdparams` and as bundles, each made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reference_kit import ReferenceModel


@pytest.fixture(scope="session")
def seeded_weights_of(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A model's name -> its seeded weights."""
    paddle = pytest.importorskip("paddle", reason="needs the [train] extra")
    from instseg_trainer.weights import write_pdparams

    folder = tmp_path_factory.mktemp("weights")

    def make(model: str) -> Path:
        path = folder / f"{model}.pdparams"
        if not path.exists():
            state = ReferenceModel.load(shared, model).seeded_state()
            write_pdparams(path, {name: paddle.to_tensor(array) for name, array in state.items()})
        return path

    return make


@pytest.fixture(scope="session")
def seeded_bundle_of(
    seeded_weights_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """A model's name -> the bundle with its seeded weights."""
    pytest.importorskip("paddle2onnx", reason="needs the [export] extra")
    from instseg_export.exporter import ExportOptions, export_bundle

    folder = tmp_path_factory.mktemp("bundles")

    def make(model: str) -> Path:
        path = folder / f"{model}.bundle"
        if not path.exists():
            export_bundle(ExportOptions(model, seeded_weights_of(model), path))
        return path

    return make


@pytest.fixture(scope="session")
def seeded_weights(seeded_weights_of: Callable[[str], Path]) -> Path:
    return seeded_weights_of("PP-YOLOE_seg-S")


@pytest.fixture(scope="session")
def seeded_bundle(seeded_bundle_of: Callable[[str], Path]) -> Path:
    return seeded_bundle_of("PP-YOLOE_seg-S")
