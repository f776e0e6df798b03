"""The commands that the pages show are commands of the programs: they exist, and their options and keys are known.

They are parsed, not run: most of them download weights or train for hours.
"""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from instseg_rt import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"])


def shell_lines(page: Path) -> list[str]:
    """Of the fenced blocks that are for a shell or name no language, continued lines joined."""
    blocks: list[str] = []
    language: str | None = None
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            language = line.removeprefix("```").strip() if language is None else None
            blocks.append("")
        elif language in ("", "bash", "sh", "console"):
            blocks[-1] += line + "\n"
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def commands(page: Path) -> list[list[str]]:
    """The words of each command line of our programs."""
    found = []
    for line in shell_lines(page):
        match = re.match(r"(?:\$ )?(?:(?:\S*/)?python )?(?:\S*/)?(instseg|instseg-export|main\.py) (.*)", line)
        if match is not None:
            found.append([match[1], *shlex.split(match[2], comments=True)])
    return found


SHOWN = [pytest.param(words, id=f"{page.name}: {' '.join(words)}") for page in PAGES for words in commands(page)]


def test_the_pages_show_commands() -> None:
    # Should the search above break, nothing below would fail.
    assert len(SHOWN) >= 20
    assert {words.values[0][0] for words in SHOWN} >= {"instseg", "instseg-export"}


def parse(program: str, arguments: list[str]) -> argparse.Namespace:
    if program == "instseg":
        return cli._build_parser(cli._chosen(arguments)).parse_args(arguments)
    parser = argparse.ArgumentParser(prog=program)
    if program == "main.py":
        cli._add_arguments(parser, cli._MAIN_PROGRAM)
    else:
        pytest.importorskip("instseg_export").cli.add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize("words", SHOWN)
def test_a_shown_command_is_understood(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    program, *arguments = words
    try:
        parsed = parse(program, arguments)
    except ModuleNotFoundError as error:
        pytest.skip(f"needs {error.name}")
    except SystemExit as end:
        pytest.fail(f"exit code {end.code}: {capsys.readouterr().err}")
    if getattr(parsed, "config", None) is not None:
        load_config = pytest.importorskip("instseg_trainer.config").load_config
        # A training's own configuration has the keys that all have.
        exists = not str(parsed.config).startswith("output/")
        load_config(parsed.config if exists else "PP-YOLOE_seg-S", parsed.override)
