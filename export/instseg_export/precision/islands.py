"""Which parts of a stage stay float32 in its FP16 form (`islands.yaml`) and in its INT8 form (`int8_islands.yaml`)."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import yaml


@dataclass(frozen=True)
class Island:
    """A part of a graph that is computed in float32. Its nodes are those that any of the selectors below picks.

    why: what would go wrong in float16. measured: what made it an entry.
    operators: every node of these operators.
    first_convolutions: so many convolutions, the first in the graph's order, which is that of the model's layers.
    outputs: what lies between these outputs of the stage and the last products (convolutions, matrix products) before
    them. Of convolutions, as many as `convolutions` says are inside. Matrix products never are: for SM75,
    TensorRT-RTX builds none in float32.
    indices: what becomes an integer, an index, and what is computed from that alone.
    """

    name: str
    why: str
    measured: str
    operators: tuple[str, ...] = ()
    first_convolutions: int = 0
    outputs: tuple[str, ...] = ()
    convolutions: int = 0
    indices: bool = False


FP16_ISLANDS = "islands.yaml"
INT8_ISLANDS = "int8_islands.yaml"


def islands_of(family: str, stage: str, file: str = FP16_ISLANDS) -> tuple[Island, ...]:
    """Those of all families, and those of the stage; `box_head_0` is a `box_head`."""
    table = _table(file)
    own = table.get(family, {})
    kind = next((name for name in (stage, stage.rstrip("0123456789").rstrip("_")) if name in own), None)
    return (*table["all"]["all"], *(own[kind] if kind is not None else ()))


@cache
def _table(file: str = FP16_ISLANDS) -> dict[str, dict[str, tuple[Island, ...]]]:
    text = importlib.resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
    return {
        family: {stage: tuple(_island(entry, file) for entry in entries) for stage, entries in stages.items()}
        for family, stages in yaml.safe_load(text).items()
    }


def _island(entry: dict[str, Any], file: str) -> Island:
    unknown = entry.keys() - {field.name for field in fields(Island)}
    if unknown:
        raise ValueError(f"{file}: {entry.get('name')}: {', '.join(sorted(unknown))}: no such key")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Island(**values)
