"""A small data set, and trainings of fake models on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .fake_models import FakeRegionModel


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, write_dataset: Callable[..., Path]) -> Path:
    """Six images to train on and four others."""
    path = write_dataset(tmp_path_factory.mktemp("families"), images=4, seed=1, split="val")
    return write_dataset(path, images=6, seed=0, split="train")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[FakeRegionModel]:
    """Makes the trainer build fake models, and collects them."""
    pytest.importorskip("paddle", reason="needs the [train] extra")
    from instseg_trainer.engine import trainer as trainer_module

    from .fake_models import FakeRegionModel

    built: list[FakeRegionModel] = []

    def build(name: str, num_classes: int) -> FakeRegionModel:
        assert name == "MaskRCNN-ResNet50-FPN"
        built.append(FakeRegionModel(num_classes))
        return built[-1]

    monkeypatch.setattr(trainer_module, "build_model", build)
    return built
