"""The catalogue of models: `models.yaml`, read into rows."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from instseg_rt.errors import InvalidArgumentError
from instseg_rt.suggest import did_you_mean

_FILE = Path(__file__).parent / "models.yaml"


@dataclass(frozen=True, slots=True)
class Paper:
    """Where a part of a model is described; `name` is what people call it, `arxiv` the id there."""

    name: str
    title: str
    venue: str
    year: int
    arxiv: str

    @property
    def text(self) -> str:
        """As a reference of one line."""
        place = f"{self.year}" if self.venue == "arXiv" else f"{self.venue} {self.year}"
        return f"{self.title} ({place}), arXiv:{self.arxiv}"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model, of this version or planned; the fields are explained in `models.yaml`.

    input_size, max_size: pixels; for `stretch` both sides become input_size and max_size is None.
    weights: address of the official weights, None where none are published. papers: the model's own first.
    """

    model: str
    family: str
    about: str
    parts: str
    stages: tuple[str, ...]
    works: tuple[str, ...]
    parameters: int
    weights_mib: float
    listed_size_mb: float | None
    resize: Literal["stretch", "keep_ratio"]
    input_size: int
    max_size: int | None
    mask_ap: float | None
    weights: str | None
    weights_licence: str | None
    papers: tuple[Paper, ...]

    @property
    def input_text(self) -> str:
        """`640 x 640`, or short side / largest long side: `800 / 1333`."""
        if self.resize == "stretch":
            return f"{self.input_size} x {self.input_size}"
        return f"{self.input_size} / {self.max_size}"

    @property
    def works_text(self) -> str:
        """What this version does with the model: `yes` (all of it), a part of it, or `planned`."""
        return "yes" if len(self.works) == len(WORKS) else ", ".join(self.works) or "planned"


WORKS = ("train", "export", "run")


@functools.cache
def model_rows() -> tuple[ModelRow, ...]:
    """Every model of the catalogue, in its order."""
    content = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    papers = {name: Paper(name, **fields) for name, fields in content["papers"].items()}
    return tuple(_row(fields, content, papers) for fields in content["models"])


def find_model(name: str) -> ModelRow:
    """The row of that name; `InvalidArgumentError` with the nearest name for an unknown one."""
    rows = {row.model: row for row in model_rows()}
    if name not in rows:
        hint = did_you_mean(name, rows)
        raise InvalidArgumentError(f"unknown model {name!r}{hint} (`instseg models` lists them all)")
    return rows[name]


def _row(fields: dict[str, Any], content: dict[str, Any], papers: dict[str, Paper]) -> ModelRow:
    """One row: the family's values, under the model's own."""
    values = {"max_size": None, **content["families"][fields["family"]], **fields}
    published = values.pop("official_weights", True)
    values["weights"] = content["official_weights"].format(model=fields["model"]) if published else None
    values["weights_licence"] = content["weights_licence"] if published else None
    for key in ("stages", "works"):
        values[key] = tuple(values[key])
    values["papers"] = tuple(papers[name] for name in values["papers"])
    return ModelRow(**values)
