"""What an object is, for messages."""

from __future__ import annotations

from typing import Any


def type_name(item: Any) -> str:
    """Such as "int" or "numpy.ndarray"."""
    kind = type(item)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
