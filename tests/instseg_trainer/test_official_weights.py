"""`official` in a configuration means the downloaded file."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_rt.cli import main
from instseg_rt.models import find_model

from .conftest import make_dataset

MODEL = "PP-YOLOE_seg-S"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the place of the official weights that no reader of weights accepts, and no server behind it."""
    monkeypatch.setenv("INSTSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("INSTSEG_WEIGHTS_URL", "http://127.0.0.1:1")
    path = tmp_path / "cache" / "weights" / f"{MODEL}_pretrained.pdparams"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x80 not weights")
    return path


@pytest.mark.parametrize(
    ("command", "key", "given"),
    [
        ("train", "Train.pretrain_weight_path", "official"),
        ("train", "Train.pretrain_weight_path", find_model(MODEL).weights),
        ("evaluate", "Evaluate.weight_path", "official"),
    ],
)
def test_official_weights_are_read_from_the_cache(
    tmp_path: Path, cached: Path, capfd: pytest.CaptureFixture[str], command: str, key: str, given: str
) -> None:
    data = make_dataset(tmp_path / "data", 2)
    make_dataset(data, 1, split="val")
    settings = [f"Global.dataset_dir={data}", f"Global.output={tmp_path / 'output'}", "Train.batch_size=1"]
    assert main([command, "-c", MODEL, "-o", *settings, "Recipe.workers=0", f"{key}={given}"]) == 1
    assert f"instseg: error: {cached}: refused as a weights file" in capfd.readouterr().err


def test_other_weights_than_the_models_are_refused(
    tmp_path: Path, cached: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = make_dataset(tmp_path / "data", 1, split="val")
    settings = [f"Global.dataset_dir={data}", f"Evaluate.weight_path={find_model('SOLOv2').weights}"]
    assert main(["evaluate", "-c", MODEL, "-o", *settings]) == 1
    assert f"the weights of SOLOv2, not of {MODEL}" in capfd.readouterr().err
