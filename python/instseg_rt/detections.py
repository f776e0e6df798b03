"""What every kind of result says of its instances."""

from __future__ import annotations

import numpy as np

from instseg_rt.sources import SourceImage


class Detections:
    """N instances of one image, but for their masks."""

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    names: tuple[str, ...]
    orig_shape: tuple[int, int]
    source: SourceImage | None

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        height, width = self.orig_shape
        counts = ", ".join(f"{count} {label}" for label, count in self.class_counts().items())
        name = type(self).__name__
        return f"{name}({counts or 'nothing found'}; {width}x{height}; {self.input_path or 'no path'})"

    @property
    def labels(self) -> list[str]:
        """The class name of each instance."""
        return [self.names[class_id] for class_id in self.class_ids]

    @property
    def input_path(self) -> str | None:
        """The path or URL of the image; None for arrays, PIL images, bytes and cameras."""
        return self.source.input_path if self.source else None

    @property
    def page_index(self) -> int | None:
        """The page of a TIFF or the frame of a video, from 0; None for other images."""
        return self.source.page_index if self.source else None

    def class_counts(self) -> dict[str, int]:
        """Number of instances per label, for the labels that were found."""
        counts: dict[str, int] = {}
        for label in self.labels:
            counts[label] = counts.get(label, 0) + 1
        return counts
