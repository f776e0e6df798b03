"""The catalogue of models against the reference kit, the trainer and the page that is made of it."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from pathlib import Path

import pytest

from instseg_rt.errors import InvalidArgumentError
from instseg_rt.models import WORKS, ModelRow, Paper, find_model, model_rows

from ..conftest import REPOSITORY

ROWS = {row.model: row for row in model_rows()}
OURS = "PP-YOLOE_seg-N"
PAPERS = list({paper.arxiv: paper for row in ROWS.values() for paper in row.papers}.values())


def test_the_models_of_paddlex_and_ours() -> None:
    assert len(ROWS) == len(model_rows()) == 16
    assert [name for name, row in ROWS.items() if row.weights is None] == [OURS]
    assert {row.family for row in ROWS.values()} == {"mask_rtdetr", "mask_rcnn", "ppyoloe_seg", "solov2"}


def test_the_models_are_those_of_the_reference(shared: Path) -> None:
    assert set(json.loads((shared / "reference" / "summary.json").read_text())) == set(ROWS) - {OURS}


@pytest.mark.parametrize("name", sorted(set(ROWS) - {OURS}))
def test_figures_are_those_of_the_reference(shared: Path, name: str) -> None:
    row = ROWS[name]
    summary = json.loads((shared / "reference" / "summary.json").read_text())[name]
    state = json.loads((shared / "reference" / "models" / f"{name}.manifest.json").read_text())["state"]
    assert row.parameters == sum(
        math.prod(entry["shape"])
        for entry in state
        if not entry.get("alias_of") and not entry["name"].endswith(("._mean", "._variance"))
    )
    assert row.weights_mib == pytest.approx(summary["pdparams_mib"], abs=0.05)
    assert row.listed_size_mb == summary["listed_size_in_paddlex_docs"]
    resize = " ".join(summary["preprocess"])
    if row.resize == "stretch":
        assert f"resize to {row.input_size}x{row.input_size}, keep_ratio false" in resize
    else:
        assert f"short side {row.input_size}, long side at most {row.max_size}, keep_ratio" in resize


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_rows_are_complete(row: ModelRow) -> None:
    assert set(row.works) <= set(WORKS)
    assert row.stages
    assert row.papers
    assert (row.max_size is None) is (row.resize == "stretch")
    if row.weights is not None:
        assert row.weights.startswith("https://")
        assert row.weights.endswith(f"/{row.model}_pretrained.pdparams")
        assert row.mask_ap is not None
        assert 30 < row.mask_ap < 60


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: paper.arxiv)
def test_papers(paper: Paper) -> None:
    assert re.fullmatch(r"\d{4}\.\d{5}", paper.arxiv)
    # An arXiv id begins with the year and month of its first version, never after the publication.
    assert 2000 + int(paper.arxiv[:2]) <= paper.year
    assert paper.text.startswith(paper.title)


def test_what_works_is_what_is_there() -> None:
    """What the catalogue promises can be built and configured."""
    if importlib.util.find_spec("paddle") is None:
        pytest.skip("the training extra is not installed")
    from instseg_trainer.config import configs_folder
    from instseg_trainer.models import build_model, model_names

    assert set(model_names()) == {row.model for row in ROWS.values() if "train" in row.works}
    for row in ROWS.values():
        if "train" in row.works:
            assert row.model in model_names()
            assert (configs_folder() / "instance_segmentation" / f"{row.model}.yaml").is_file()
    state = build_model(OURS, 80).state_dict()
    parameters = [t for name, t in state.items() if not name.endswith(("._mean", "._variance"))]
    assert ROWS[OURS].parameters == sum(math.prod(tensor.shape) for tensor in parameters)
    assert ROWS[OURS].weights_mib == pytest.approx(sum(math.prod(t.shape) for t in state.values()) * 4 / 2**20, abs=0.1)


def test_the_page_is_made_of_the_catalogue() -> None:
    page = (REPOSITORY / "docs" / "models.md").read_text(encoding="utf-8")
    spec = importlib.util.spec_from_file_location("models_page", REPOSITORY / "tools" / "models_page.py")
    assert spec and spec.loader
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert page == maker.rewritten(page), "run: python tools/models_page.py docs/models.md"
    for row in ROWS.values():
        assert f"| {row.model} |" in page


def test_unknown_names_are_met_with_the_nearest() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'mask-rt-detr-l'; did you mean Mask-RT-DETR-L\?"):
        find_model("mask-rt-detr-l")
    with pytest.raises(InvalidArgumentError) as caught:
        find_model("resnet")
    assert "\n" not in str(caught.value)
