"""Replacing files of a data set together: originals become backups, and an interruption loses nothing.

New content is written beside its target first, and every original gets a second name, `*.bak`. Until then the data
set is as it was. Then a journal is written, in one step; what follows (renaming the new files into place, taking the
old names away) is in it, and `recover` finishes it whenever the data set is used again.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from instseg_rt.errors import IoError
from instseg_rt.files import read_bytes, write_atomically
from instseg_trainer.data.errors import DataError

JOURNAL = ".instseg-replace.json"


def replace_files(folder: Path, contents: Mapping[str, bytes], retired: Sequence[str] = ()) -> list[str]:
    """Writes `contents` and takes the files `retired` away; all names are relative to `folder`, with `/`.

    What a new file replaces and what is retired stays as `NAME.bak` (`NAME.1.bak` where that is taken). Returns the
    names of the backups. Raises `IoError` where something cannot be written; before the journal is there, nothing has
    changed but that some backups may be there already.
    """
    recover(folder)
    backups: dict[str, str] = {}
    staged: dict[str, str] = {}
    try:
        for name, content in contents.items():
            staged[name] = str(PurePosixPath(name).with_name(f".{PurePosixPath(name).name}.new"))
            write_atomically(folder / staged[name], content)
        for name in dict.fromkeys((*contents, *retired)):
            if (folder / name).exists():
                backups[name] = _back_up(folder, name)
        journal = {
            "moves": [[staged[name], name] for name in contents],
            "removals": [[name, backups[name]] for name in retired if name in backups],
        }
        write_atomically(folder / JOURNAL, json.dumps(journal, ensure_ascii=False).encode())
    except BaseException:
        if not (folder / JOURNAL).exists():
            for name in staged.values():
                (folder / name).unlink(missing_ok=True)
        raise
    recover(folder)
    return list(backups.values())


def recover(folder: Path) -> bool:
    """Finishes a replacement that was interrupted after its journal was written; whether there was one."""
    path = folder / JOURNAL
    if not path.is_file():
        return False
    moves, removals = _read_journal(path)
    try:
        for staged, name in moves:
            if (folder / staged).exists():
                (folder / staged).replace(folder / name)
        for name, backup in removals:
            if (folder / backup).exists():
                (folder / name).unlink(missing_ok=True)
        path.unlink()
    except OSError as error:
        raise IoError(f"{error.filename}: cannot be replaced: {error.strerror}; run again when it can") from error
    return True


def _read_journal(path: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The pairs of names; a journal of unknown origin must not move files outside of its folder."""
    try:
        content = json.loads(read_bytes(path))
        pairs = [[(str(first), str(second)) for first, second in content[key]] for key in ("moves", "removals")]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not a journal of this program: move it away") from error
    for name in (name for group in pairs for pair in group for name in pair):
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(f"{path}: {name!r} leaves the data set's folder: move the journal away")
    return pairs[0], pairs[1]


def _back_up(folder: Path, name: str) -> str:
    """Gives a file a second name; returns it. An equal backup, of a run that was interrupted, is used again."""
    original = folder / name
    number = 0
    while True:
        backup = f"{name}.{number}.bak" if number else f"{name}.bak"
        target = folder / backup
        try:
            os.link(original, target)
            return backup
        except FileExistsError:
            if target.is_file() and filecmp.cmp(original, target, shallow=False):
                return backup
            number += 1
        except OSError:
            # A file system without hard links.
            return _copy_backup(original, target, backup)


def _copy_backup(original: Path, target: Path, backup: str) -> str:
    temporary = target.with_name(f".{target.name}.new")
    try:
        shutil.copy2(original, temporary)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise IoError(f"{target}: the backup cannot be written: {error.strerror}") from error
    return backup
