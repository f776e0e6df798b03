"""Ctrl-C during a training: the iteration under way is finished first."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType

_NOTED = b"\ninterrupted: a checkpoint follows after this iteration or evaluation; Ctrl-C again ends at once, without\n"


class Interrupt:
    """In the `with` block the first Ctrl-C only sets `asked`, and says so; the second raises KeyboardInterrupt.

    It leaves Ctrl-C alone where that does not raise KeyboardInterrupt anyway (another thread than the main one, another
    handler, a signal that is ignored), and where it is not `enabled`.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.asked = False
        self._enabled = enabled
        self._installed = False

    def __enter__(self) -> Interrupt:
        default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._enabled and default and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._note)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, _NOTED)  # a buffered stream may be in the middle of a write
