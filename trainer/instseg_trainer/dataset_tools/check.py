"""Everything that is wrong with a data set in COCO's layout, found in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from instseg_trainer.dataset_tools.coco_set import PARTS, CocoSet, read_set
from instseg_trainer.dataset_tools.image_files import check_images, check_overlap
from instseg_trainer.dataset_tools.problems import Findings, Kind
from instseg_trainer.dataset_tools.shapes import check_shape


@dataclass(frozen=True)
class CheckedDataset:
    """Both parts of a data set without problems."""

    folder: Path
    train: CocoSet
    val: CocoSet

    @property
    def parts(self) -> tuple[CocoSet, CocoSet]:
        return self.train, self.val


def check(
    folder: Path,
    findings: Findings,
    on_images: Callable[[int], None] = lambda total: None,
    on_image: Callable[[], None] = lambda: None,
) -> CheckedDataset | None:
    """Adds every problem to `findings`; None where there is one, also from before.

    `on_images` is called with the number of images, then `on_image` after each.
    """
    read = {part: read_set(folder, part, findings) for part in PARTS}
    sets = [found for found in read.values() if found is not None]
    for found in sets:
        for annotation in found.annotations:
            check_shape(annotation, found.images[annotation.image_id], found.file, findings)
    on_images(sum(len(found.images) for found in sets))
    check_images(folder, sets, findings, on_image)
    train, val = read["train"], read["val"]
    if train is not None and val is not None:
        check_overlap(train, val, findings)
        _compare_categories(train, val, findings)
    # An image in both parts is found by its name and by its content.
    findings.problems = sorted(dict.fromkeys(findings.problems), key=lambda problem: problem.file)
    return CheckedDataset(folder, train, val) if train and val and not findings.problems else None


def _compare_categories(train: CocoSet, val: CocoSet, findings: Findings) -> None:
    for category_id, label in val.categories.items():
        expected = train.categories.get(category_id)
        if expected != label:
            found = "it has no such id" if expected is None else f"there it is {expected!r}"
            message = f"{label!r} is not what the id stands for in {train.file}: {found}; the two need the same classes"
            findings.add(Kind.CATEGORY_MISMATCH, val.file, f"category id {category_id}", message)
    missing = len(train.categories.keys() - val.categories.keys())
    if missing:
        findings.notes.append(f"{val.file}: {missing} of the {len(train.categories)} classes of train are not listed")
