"""Writes the tables of docs/models.md from the catalogue (python/instseg_rt/models.yaml).

Usage: models_page.py docs/models.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from instseg_rt.models import ModelRow, model_rows

BEGIN = "<!-- made by tools/models_page.py from python/instseg_rt/models.yaml -->"
END = "<!-- end of what is made -->"


def rewritten(page: str) -> str:
    """The page with new tables between its two marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{rest.split(END)[1]}"


def tables() -> str:
    """The tables of models, families and papers, in Markdown."""
    rows = model_rows()
    families = {row.family: row for row in rows}
    papers = {paper.arxiv: paper for row in rows for paper in row.papers}
    parts = [
        _table(
            ("model", "family", "input", "parameters", "mask AP", "weights file", "works here"),
            [
                (
                    row.model,
                    f"`{row.family}`",
                    row.input_text,
                    f"{row.parameters / 1e6:.1f} M",
                    "-" if row.mask_ap is None else f"{row.mask_ap:.1f}",
                    f"{row.weights_mib:.1f} MiB",
                    row.works_text,
                )
                for row in rows
            ],
            right=(3, 4, 5),
        ),
        "## Families\n",
        _table(("family", "how it finds masks"), [(f"`{name}`", row.about) for name, row in families.items()]),
        "## Parts and papers\n",
        _table(("model", "parts", "papers"), [(row.model, row.parts, _references(row)) for row in rows]),
        "\n".join(f"- {paper.name}: {paper.text}" for paper in papers.values()) + "\n",
    ]
    return "\n".join(parts)


def _references(row: ModelRow) -> str:
    return ", ".join(f"[{paper.name}](https://arxiv.org/abs/{paper.arxiv})" for paper in row.papers)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    rules = ["---:" if index in right else "---" for index in range(len(columns))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (columns, rules, *rows))


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
