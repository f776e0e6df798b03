"""The make-dataset command: arguments, exit status, one line on failure."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from instseg_rt.cli import main
from instseg_rt.scenes import cli, dataset


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return parser.parse_args(words)


def test_makes_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    words = [
        str(out),
        "--images",
        "2",
        "--size",
        "64,96",
        "--seed",
        "5",
        "--val-fraction",
        "0.5",
        "--workers",
        "1",
    ]
    assert cli.run(parse(*words)) == 0
    assert capsys.readouterr().out == f"2 pictures in {out}\n"
    train = json.loads((out / "annotations" / "instance_train.json").read_text())
    assert [(i["height"], i["width"]) for i in train["images"]] == [(64, 96)]


def test_failure_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.txt").write_text("x")
    assert main(["make-dataset", str(tmp_path), "--images", "2"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("instseg: error: ")
    assert captured.err.count("\n") == 1


def test_unwritable_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    assert main(["make-dataset", str(tmp_path / "file" / "set"), "--images", "2"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_interrupt_says_how_to_continue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "render_scene", stop)
    assert cli.run(parse(str(tmp_path / "set"), "--images", "2", "--workers", "1")) == 130
    assert "run the same command again" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["320", "a,b", "1,2,3", ""])
def test_bad_size(size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(str(tmp_path), "--images", "2", "--size", size)
    assert "is not H,W" in capsys.readouterr().err


def test_defaults(tmp_path: Path) -> None:
    args = parse(str(tmp_path), "--images", "2")
    assert (args.size, args.seed, args.val_fraction, args.workers) == ((320, 320), 0, 0.1, None)
