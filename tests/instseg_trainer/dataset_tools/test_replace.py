"""Files are replaced together, whenever the process dies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instseg_rt.errors import IoError
from instseg_trainer.data import DataError
from instseg_trainer.dataset_tools.replace import JOURNAL, recover, replace_files

ORIGINALS = {"annotations/a.json": b"old a", "x.json": b"old x", "y.json": b"old y", "other.txt": b"other"}
NEW = {"annotations/a.json": b"new a", "annotations/b.json": b"new b"}
AFTER = {
    **NEW,
    "annotations/a.json.bak": b"old a",
    "x.json.bak": b"old x",
    "y.json.bak": b"old y",
    "other.txt": b"other",
}


def make(folder: Path) -> Path:
    for name, content in ORIGINALS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def die_at(step: int, folder: Path) -> bool:
    """Replaces in a process that is gone before its `step`-th change of the file system; whether it got that far."""
    child = os.fork()
    if child == 0:
        left = [step]

        def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*args: Any, **kwargs: Any) -> Any:
                if left[0] == 0:
                    os._exit(9)
                left[0] -= 1
                return function(*args, **kwargs)

            return counted

        for name in ("write_bytes", "replace", "unlink"):
            setattr(Path, name, deadly(getattr(Path, name)))
        os.link = deadly(os.link)
        try:
            replace_files(folder, NEW, ["x.json", "y.json"])
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_death_at_every_step(tmp_path: Path) -> None:
    step, committed = 0, 0
    while die_at(step, make(tmp_path / str(step))):
        folder = tmp_path / str(step)
        left = content_of(folder)
        if JOURNAL not in left and not left.items() >= AFTER.items():
            # Not begun: every original is where it was.
            assert left.items() >= ORIGINALS.items()
        elif JOURNAL in left:
            committed += 1
            assert left.items() >= {f"{name}.bak": ORIGINALS[name] for name in list(ORIGINALS)[:3]}.items()
            assert recover(folder)
            assert content_of(folder) == AFTER
        # The same again gives what an undisturbed run gives.
        if "x.json" in content_of(folder):
            replace_files(folder, NEW, ["x.json", "y.json"])
            assert {name: data for name, data in content_of(folder).items() if not name.endswith(".tmp")} == AFTER
        step += 1
    assert content_of(tmp_path / str(step)) == AFTER
    assert step > 10
    assert committed >= 4


def test_backups_are_never_overwritten(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "x.json.bak").write_bytes(b"an earlier one")
    assert replace_files(tmp_path, {"x.json": b"new"}) == ["x.json.1.bak"]
    assert replace_files(tmp_path, {"x.json": b"newer"}) == ["x.json.2.bak"]
    left = content_of(tmp_path)
    assert [left[f"x.json{end}"] for end in ("", ".bak", ".1.bak", ".2.bak")] == [
        b"newer",
        b"an earlier one",
        b"old x",
        b"new",
    ]


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    replace_files(make(tmp_path), NEW, ["x.json", "y.json"])
    assert content_of(tmp_path) == AFTER


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "b.json" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(IoError, match="No space left"):
        replace_files(tmp_path, NEW, ["x.json"])
    assert content_of(tmp_path) == ORIGINALS


@pytest.mark.parametrize("name", ["../outside", "/etc/outside"])
def test_a_hostile_journal_is_refused(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path / "set")
    (folder / JOURNAL).write_text(json.dumps({"moves": [["x.json", name]], "removals": []}))
    with pytest.raises(DataError, match="leaves the data set's folder"):
        recover(folder)
    (folder / JOURNAL).write_text("{}")
    with pytest.raises(DataError, match="not a journal"):
        recover(folder)
    assert (folder / "x.json").read_bytes() == b"old x"
