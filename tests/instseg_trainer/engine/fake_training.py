"""A training of the fake model as a program, for what happens to processes.

python -m tests.instseg_trainer.engine.fake_training DATA OUTPUT [--plain] [--die WHERE COUNT] [SETTING …]

--plain: without noise. --die: ends itself as `kill -9` does in the middle of the COUNT-th write of a file whose name
holds WHERE, or before the COUNT-th renaming of such a folder.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

import paddle

from instseg_trainer.engine import trainer as trainer_module

from .fake_models import FakeRegionModel, configuration


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(where: str, count: int) -> None:
    left = count
    save, rename = paddle.save, Path.rename

    def is_it(path: str | Path) -> bool:
        nonlocal left
        left -= where in Path(path).name
        return where in Path(path).name and left == 0

    def half_save(content: object, path: str) -> None:
        save(content, path)
        if is_it(path):
            os.truncate(path, Path(path).stat().st_size // 2)
            die()

    def no_rename(self: Path, target: str | Path) -> Path:
        if is_it(target):
            die()
        return rename(self, target)

    paddle.save = half_save
    Path.rename = no_rename  # type: ignore[assignment,method-assign]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--die", nargs=2)
    parser.add_argument("settings", nargs="*")
    args = parser.parse_intermixed_args()
    if args.plain:
        paddle.rand = paddle.ones
    if args.die:
        die_at(args.die[0], int(args.die[1]))
    trainer_module.build_model = lambda _name, num_classes: FakeRegionModel(num_classes)
    trainer_module.Trainer(configuration(args.data, args.output, *args.settings)).run()


if __name__ == "__main__":
    main()
