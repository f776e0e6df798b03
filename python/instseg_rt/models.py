"""The list of models: one row of `models.yaml` each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

_FILE = Path(__file__).parent / "models.yaml"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model that can be trained, exported and run; the fields are explained in `models.yaml`."""

    model: str
    family: str
    parameters: int
    input_size: int
    mask_ap: float | None
    weights: str


def model_rows() -> list[ModelRow]:
    """Every model of this version."""
    return [ModelRow(**row) for row in yaml.safe_load(_FILE.read_text(encoding="utf-8"))]
