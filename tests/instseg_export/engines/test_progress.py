"""Progress of a build."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from instseg_export.engines.progress import BuildProgress, run_stoppable


def test_a_share_counts_the_phases_inside_a_step() -> None:
    shown: list[tuple[float, str]] = []
    progress = BuildProgress(lambda share, phase: shown.append((round(share, 3), phase)))
    progress.start("build", None, 2)
    progress.start("clone", "build", 4)
    assert progress.step("clone", 0)
    assert progress.step("clone", 3)
    progress.finish("clone")
    progress.step("build", 0)
    progress.start("time", "build", 2)
    progress.step("time", 0)
    progress.finish("time")
    progress.step("build", 1)
    assert shown == [(0.125, "clone"), (0.5, "clone"), (0.5, "build"), (0.75, "time"), (1.0, "build")]


def test_a_step_after_stop_says_no() -> None:
    progress = BuildProgress(lambda _share, _phase: None)
    progress.start("build", None, 2)
    assert progress.step("build", 0)
    progress.stopped.set()
    assert not progress.step("build", 1)


def test_an_interrupt_ends_the_work_at_its_next_step() -> None:
    progress = BuildProgress(lambda _share, _phase: None)
    before = signal.getsignal(signal.SIGINT)
    steps = []

    def work() -> str:
        while progress.step("build", 0):
            steps.append(1)
            if len(steps) == 3:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        return "given up"

    with pytest.raises(KeyboardInterrupt):
        run_stoppable(work, progress)
    assert len(steps) >= 3
    assert signal.getsignal(signal.SIGINT) is before
    assert threading.active_count() == 1 or all(thread.name != "engine build" for thread in threading.enumerate())


def test_results_and_errors_of_the_work_come_back() -> None:
    def fail() -> None:
        raise ValueError("of the work")

    progress = BuildProgress(lambda _share, _phase: None)
    assert run_stoppable(lambda: 7, progress) == 7
    with pytest.raises(ValueError, match="of the work"):
        run_stoppable(fail, progress)


def test_a_second_interrupt_ends_the_process_at_once() -> None:
    code = """
import os, signal, time
from instseg_export.engines.progress import BuildProgress, run_stoppable

def work():
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    time.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)
run_stoppable(work, BuildProgress(lambda share, phase: None))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == -signal.SIGINT
    assert "Ctrl-C again ends at once" in done.stderr
