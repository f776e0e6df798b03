"""The exceptions of the SDK: `Error` and one subclass per error code, the same in Python and C++.

Every message is one line: what was wrong, where (file, key, shape: expected against found) and what to do.
"""

from instseg_rt._core import (
    BackendError,
    BadBundleError,
    Error,
    IncompatibleEngineError,
    InternalError,
    InvalidArgumentError,
    IoError,
    OutOfMemoryError,
    UnsupportedError,
)

__all__ = [
    "BackendError",
    "BadBundleError",
    "Error",
    "IncompatibleEngineError",
    "InternalError",
    "InvalidArgumentError",
    "IoError",
    "OutOfMemoryError",
    "UnsupportedError",
]
