"""What the tools find out about a data set: problems, which make it fail, and notes, which do not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from instseg_rt.errors import Error
from instseg_trainer.data import DataError


class Kind(StrEnum):
    """Kinds of problems; the values stand in check_dataset_result.json."""

    UNREADABLE_FILE = "unreadable_file"
    INVALID_ENTRY = "invalid_entry"
    DUPLICATE_ID = "duplicate_id"
    DUPLICATE_IMAGE = "duplicate_image"
    MISSING_IMAGE = "missing_image"
    UNREADABLE_IMAGE = "unreadable_image"
    SIZE_MISMATCH = "size_mismatch"
    UNKNOWN_IMAGE = "unknown_image"
    UNKNOWN_CATEGORY = "unknown_category"
    CATEGORY_MISMATCH = "category_mismatch"
    EMPTY_POLYGON = "empty_polygon"
    SELF_CROSSING = "self_crossing_polygon"
    OUTSIDE_IMAGE = "polygon_outside_image"
    INVALID_RLE = "invalid_rle"
    EMPTY_BOX = "empty_box"
    EMPTY_SET = "empty_set"
    OVERLAP = "train_val_overlap"
    CONVERSION = "conversion"
    SPLIT = "split"


@dataclass(frozen=True)
class Problem:
    """`file` is relative to the data set's folder, `entry` says where in it (`annotation id 5`; may be empty)."""

    kind: Kind
    file: str
    entry: str
    message: str

    def __str__(self) -> str:
        return ": ".join(" ".join(part.split()) for part in (self.file, self.entry, self.message) if part)


@dataclass
class Findings:
    """Everything found so far, in the order of the files."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: Kind, file: str, entry: str, message: str) -> None:
        self.problems.append(Problem(kind, file, entry, message))

    @contextmanager
    def collect(self, kind: Kind, file: str, entry: str) -> Iterator[None]:
        """Turns an error of the block about the data into a problem; its message may begin with `entry` or `file`."""
        try:
            yield
        except (DataError, Error) as error:
            message = str(error)
            for start in (file, entry):
                message = message.removeprefix(f"{start}: ")
            self.add(kind, file, entry, message)
