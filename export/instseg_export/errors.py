"""What can go wrong through no fault of this program."""

from __future__ import annotations


class ExportError(Exception):
    """One line: what was wrong, where, what to do."""
