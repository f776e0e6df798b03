"""The reference's seeded PP-YOLOE_seg-S as a `.pdparams` and as a bundle, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reference_kit import ReferenceModel


@pytest.fixture(scope="session")
def seeded_weights(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    paddle = pytest.importorskip("paddle", reason="needs the [train] extra")
    from instseg_trainer.weights import write_pdparams

    state = ReferenceModel.load(shared, "PP-YOLOE_seg-S").seeded_state()
    path = tmp_path_factory.mktemp("weights") / "seeded.pdparams"
    write_pdparams(path, {name: paddle.to_tensor(array) for name, array in state.items()})
    return path


@pytest.fixture(scope="session")
def seeded_bundle(seeded_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("paddle2onnx", reason="needs the [export] extra")
    from instseg_export.exporter import ExportOptions, export_bundle

    return export_bundle(
        ExportOptions("PP-YOLOE_seg-S", seeded_weights, tmp_path_factory.mktemp("bundles") / "seeded.bundle")
    ).bundle
