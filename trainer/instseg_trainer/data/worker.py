"""A process that prepares batches: tasks come in on its standard input, batches go out on its standard
output.
 A plain child process rather than a fork: it shares no threads, locks or device handles with the trainer, and
needs no `__main__` guard in the user's script. When the parent ends in whatever way, the input closes and the
worker ends.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from typing import BinaryIO

import cv2

from instseg_trainer.data.collate import BatchTask, PreparedBatch, prepare_batch
from instseg_trainer.data.errors import DataError

# The child sees the modules that the parent sees, wherever the parent found them.
_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from instseg_trainer.data.worker import serve; serve()"
)


@dataclass(frozen=True)
class WorkerFailure:
    """Sent in place of a batch: a DataError's line, or with `is_data_error` False a traceback."""

    message: str
    is_data_error: bool


class Worker:
    """The parent's end of one worker process. At most one task may be under way: send, receive, send, …"""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOTSTRAP, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def send(self, task: BatchTask) -> None:
        """Hand a task over; returns as soon as the worker has read it."""
        assert self._process.stdin is not None
        data = pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError as error:
            raise self._death() from error

    def receive(self) -> PreparedBatch:
        """Wait for the batch. Raises the worker's DataError, or RuntimeError if it failed or died."""
        assert self._process.stdout is not None
        try:
            # Only this program's own child writes here, so unpickling is safe.
            answer = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError, ValueError, OSError) as error:
            raise self._death() from error
        if isinstance(answer, WorkerFailure):
            raise (
                DataError(answer.message)
                if answer.is_data_error
                else RuntimeError(f"a data worker failed:\n{answer.message}")
            )
        return answer

    def stop(self) -> None:
        """End the process now; safe to call twice and from another thread than the one that receives."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Stop, and release the pipes. Call it when no thread uses them any more."""
        self.stop()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                continue  # unsent bytes for a process that is gone

    def _death(self) -> RuntimeError:
        self.stop()
        return RuntimeError(
            f"a data worker ended unexpectedly (exit code {self._process.returncode}); -9 mostly means that "
            "memory ran out: use fewer workers or a smaller batch"
        )


def serve() -> None:
    """Run in the child: answer tasks until the input ends."""
    # Ctrl+C reaches the whole process group; the parent decides what happens then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not get into the answers.
    os.dup2(2, 1)
    try:
        _serve(sys.stdin.buffer, answers)
    except (BrokenPipeError, EOFError):
        os._exit(0)


def _serve(tasks: BinaryIO, answers: BinaryIO) -> None:
    while True:
        task: BatchTask = pickle.load(tasks)
        answer: PreparedBatch | WorkerFailure
        try:
            answer = prepare_batch(task)
        except DataError as error:
            answer = WorkerFailure(str(error), is_data_error=True)
        except Exception:
            answer = WorkerFailure(traceback.format_exc(), is_data_error=False)
        pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()
