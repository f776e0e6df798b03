"""What the user sees of a build that takes minutes, and how it is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

_SECONDS_BETWEEN_LINES = 10.0


class BuildProgress:
    """Phases of a build as a share of the whole: a phase has steps, and phases of its own inside a step.

    TensorRT's threads call it, so it has a lock. `stop` makes the next step tell TensorRT to give up.
    """

    def __init__(self, show: Callable[[float, str], None]) -> None:
        self._show = show
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self.stopped = threading.Event()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))

    def step(self, name: str, step: int) -> bool:
        """Whether TensorRT is to go on."""
        with self._lock:
            if name in self._phases:
                self._phases[name].done = step + 1
            share = self._share()
        if share is not None:
            self._show(share, name)
        return not self.stopped.is_set()

    def finish(self, name: str) -> None:
        with self._lock:
            self._phases.pop(name, None)

    def _share(self) -> float | None:
        """0 to 1; None where no phase is open."""
        name = next((name for name, phase in self._phases.items() if phase.parent not in self._phases), None)
        share, width = 0.0, 1.0
        seen = set()
        while name is not None and name not in seen:
            seen.add(name)
            phase = self._phases[name]
            width /= phase.steps
            share += width * min(phase.done, phase.steps - (1 if self._child(name) else 0))
            name = self._child(name)
        return min(share, 1.0) if seen else None

    def _child(self, parent: str) -> str | None:
        return next((name for name, phase in self._phases.items() if phase.parent == parent), None)


class _Phase:
    def __init__(self, parent: str | None, steps: int) -> None:
        self.parent, self.steps, self.done = parent, steps, 0


def monitor(module: ModuleType, progress: BuildProgress) -> Any:
    """The module's own kind of monitor, which tells `progress`."""

    class Monitor(module.IProgressMonitor):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            progress.finish(phase_name)

    return Monitor()


@contextlib.contextmanager
def shown_progress(title: str) -> Iterator[BuildProgress]:
    """A bar on a terminal, else a line every ten seconds."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"))
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
            task = bar.add_task(title, total=1.0)
            yield BuildProgress(lambda share, phase: bar.update(task, completed=share, description=f"{title}: {phase}"))
        return
    shown = [time.monotonic()]

    def line(share: float, phase: str) -> None:
        if time.monotonic() - shown[0] >= _SECONDS_BETWEEN_LINES:
            shown[0] = time.monotonic()
            print(f"{title}: {share:.0%}, {phase}", file=sys.stderr, flush=True)

    yield BuildProgress(line)


def run_stoppable(work: Callable[[], Any], progress: BuildProgress) -> Any:
    """Runs `work` in a thread of its own, so that Ctrl-C reaches this one, and waits for it.

    On Ctrl-C TensorRT is told to stop at its next step, and KeyboardInterrupt is raised when it has; a step can take a
    minute, and a second Ctrl-C ends the process. Called from another thread than the main one, where no signals
    arrive, it does without.
    """
    result: list[Any] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=target, name="engine build")
    with _interrupts_to(progress.stopped):
        thread.start()
        while thread.is_alive():
            thread.join(0.2)
    if progress.stopped.is_set():
        raise KeyboardInterrupt
    if failure:
        raise failure[0]
    return result[0]


@contextlib.contextmanager
def _interrupts_to(event: threading.Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        if event.is_set():
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        event.set()
        print("stopping at TensorRT's next step; Ctrl-C again ends at once", file=sys.stderr, flush=True)

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
