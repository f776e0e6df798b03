"""`instseg-export --all`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("paddle", reason="needs the [train] extra")
pytest.importorskip("paddle2onnx", reason="needs the [export] extra")

from instseg_export.cli import main
from instseg_export.export_all import weights_of_all
from instseg_rt.models import model_rows
from instseg_trainer.models import build_model
from instseg_trainer.weights import write_pdparams


def test_weights_by_name(tmp_path: Path) -> None:
    for name in ("SOLOv2.pdparams", "Mask-RT-DETR-S_pretrained.pdparams", "other.pdparams"):
        (tmp_path / name).touch()
    (tmp_path / "PP-YOLOE_seg-S").mkdir()
    assert weights_of_all(tmp_path) == {
        "Mask-RT-DETR-S": tmp_path / "Mask-RT-DETR-S_pretrained.pdparams",
        "PP-YOLOE_seg-S": tmp_path / "PP-YOLOE_seg-S",
        "SOLOv2": tmp_path / "SOLOv2.pdparams",
    }
    official = weights_of_all("official")
    assert len(official) == 15
    assert set(official.values()) == {"official"}
    assert set(official) < {row.model for row in model_rows()}


@pytest.mark.slow
def test_one_fails_and_the_others_are_exported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, output = tmp_path / "weights", tmp_path / "bundles"
    weights.mkdir()
    write_pdparams(weights / "PP-YOLOE_seg-N.pdparams", build_model("PP-YOLOE_seg-N", 2).state_dict())
    (weights / "SOLOv2.pdparams").write_bytes(b"nothing")
    arguments = ["--all", "--weights", str(weights), "--output", str(output)]

    assert main(arguments) == 1
    first = capsys.readouterr()
    bundle = output / "PP-YOLOE_seg-N.bundle"
    assert [path.name for path in output.iterdir()] == [bundle.name]
    rows = {line.split()[1]: line for line in first.out.splitlines() if "PP-" in line or "SOLO" in line}
    assert "exported" in rows["PP-YOLOE_seg-N"]
    assert f"{weights / 'SOLOv2.pdparams'}: " in rows["SOLOv2"]
    lines = [line for line in first.err.splitlines() if line.startswith("[")]
    assert lines[1].startswith("[1/2] SOLOv2: error: ")
    assert lines[2].startswith("[2/2] PP-YOLOE_seg-N: reading")

    # Again: what is there stays as it is; the missing one is made from other weights now.
    written = (bundle / "manifest.yaml").stat().st_mtime_ns
    (weights / "SOLOv2.pdparams").unlink()
    assert main(arguments) == 0
    assert "up to date" in capsys.readouterr().out
    assert (bundle / "manifest.yaml").stat().st_mtime_ns == written
    # Another option, and other weights, are no longer the same bundle.
    assert main([*arguments, "--batch", "1,1,2"]) == 0
    assert "exported" in capsys.readouterr().out
    assert (bundle / "manifest.yaml").stat().st_mtime_ns > written
    assert list(output.iterdir()) == [bundle]


def test_wrong_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error_of(*arguments: str) -> str:
        assert main([*arguments, "--output", str(tmp_path / "out")]) == 1
        text = capsys.readouterr().err.strip().splitlines()[-1]
        assert text.startswith("instseg-export: error: ")
        return text

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "a bundle's folder, or --all" in error_of("--weights", "official")
    assert "a bundle's folder, or --all" in error_of("SOLOv2", "--all", "--weights", "official")
    assert "unknown model 'SOLO-v2'; did you mean SOLOv2?" in error_of("SOLO-v2", "--weights", "official")
    assert "SOLOv2: missing: --weights, the file or folder to read" in error_of("SOLOv2")
    assert "--all: missing: --weights, the file or folder to read" in error_of("--all")
    assert "no weights: expected files named like Mask-RT-DETR-S.pdparams" in error_of("--all", "--weights", str(empty))
    assert "with --all, expected `official` or a folder" in error_of("--all", "--weights", str(tmp_path / "x"))
    shutil.copyfile(__file__, empty / "SOLOv2.pdparams")
    assert "--opset: expected 17" in error_of("--all", "--weights", str(empty), "--opset", "9")
    assert not (tmp_path / "out").exists()
