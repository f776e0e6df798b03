"""Batches: the same for any number of workers and any entry point; workers end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from instseg_trainer.data import Batch, CocoDataset, DataError, DataLoader, Normalization, Step, build_transforms
from instseg_trainer.data.coco import ImageRecord

RECIPE = build_transforms(
    [
        {"RandomDistort": {}},
        {"RandomExpand": {"fill_value": [123.675, 116.28, 103.53]}},
        {"RandomCrop": {"is_mask_crop": True}},
        {"RandomFlip": {}},
        {"Resize": {"target_size": [128, 160], "keep_ratio": False, "interp": 2}},
    ]
)
# Of every image another size, and one size and interpolation per batch.
FITTED = build_transforms(
    [{"RandomResize": {"target_size": [[100, 200], [117, 200], [128, 150]], "interp": 2}}, {"RandomFlip": {}}]
)
BATCH_SIZES = build_transforms(
    [
        {"RandomFlip": {}},
        {"BatchRandomResize": {"target_size": [64, 96, 128], "keep_ratio": False, "random_interp": True}},
    ]
)
PLAIN = build_transforms([{"Resize": {"target_size": [320, 400], "keep_ratio": False, "interp": 2}}])


def assert_equal(one: Batch, other: Batch) -> None:
    for name in one.__dataclass_fields__:
        left, right = getattr(one, name), getattr(other, name)
        if name == "segments":
            assert segment_pixels(one) == segment_pixels(other)
            continue
        assert left.dtype == right.dtype
        assert np.array_equal(left, right), name


def segment_pixels(batch: Batch) -> list[list[bytes]] | None:
    """Each shape as bytes that tell it."""
    if batch.segments is None:
        return None
    return [
        [b"".join(part.tobytes() for part in shape.polygons or (shape.bitmap,)) for shape in shapes]  # type: ignore[union-attr]
        for shapes in batch.segments
    ]


def assert_all_equal(one: Iterable[Batch], other: Iterable[Batch]) -> None:
    for left, right in zip(one, other, strict=True):
        assert_equal(left, right)


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def children_of(process: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_shapes_types_and_padding(synthetic: Path) -> None:
    dataset = CocoDataset(synthetic)
    dataset.records[1] = keep_instances(dataset.records[1], 1)
    batch = next(iter(DataLoader(dataset, PLAIN, batch_size=2, shuffle=False).epoch(0)))
    assert len(batch) == 2
    for name, shape, dtype in (
        ("images", (2, 3, 320, 400), np.float32),
        ("image_sizes", (2, 2), np.float32),
        ("boxes", (2, 4, 4), np.float32),
        ("class_ids", (2, 4, 1), np.int64),
        ("masks", (2, 4, 80, 100), np.uint8),
        ("pad_mask", (2, 4, 1), np.float32),
        ("image_ids", (2,), np.int64),
        ("original_sizes", (2, 2), np.int64),
        ("scale_factors", (2, 2), np.float32),
    ):
        assert (getattr(batch, name).shape, getattr(batch, name).dtype) == (shape, dtype), name
    assert batch.pad_mask[:, :, 0].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert not batch.boxes[1, 1:].any()
    assert not batch.masks[1, 1:].any()
    assert batch.masks[0].reshape(4, -1).any(axis=1).all()
    assert batch.scale_factors.tolist() == [[2, 2], [2, 2]]
    assert batch.original_sizes.tolist() == [[160, 200], [160, 200]]
    assert batch.image_sizes.tolist() == [[320, 400], [320, 400]]
    assert batch.segments is None


def test_images_of_different_sizes_are_padded_with_zeros(synthetic: Path) -> None:
    dataset = CocoDataset(synthetic)
    settings = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    loader = DataLoader(dataset, FITTED, batch_size=6, pad_stride=32, mask_stride=4, normalization=settings, seed=2)
    batch = next(iter(loader.epoch(0)))
    sizes = batch.image_sizes.astype(int).tolist()
    assert len({tuple(size) for size in sizes}) > 1
    assert batch.images.shape[2:] == tuple(-(-max(sides) // 32) * 32 for sides in zip(*sizes, strict=True))
    alone = DataLoader(dataset, FITTED, batch_size=1, pad_stride=1, mask_stride=1, normalization=settings, seed=2)
    # The same shuffle: one image after the other.
    for row, single in enumerate(alone.epoch(0)):
        height, width = sizes[row]
        assert single.images.shape == (1, 3, height, width)
        assert np.array_equal(batch.images[row, :, :height, :width], single.images[0])
        assert not batch.images[row, :, height:].any()
        assert not batch.images[row, :, :, width:].any()
        count = len(single.boxes[0])
        assert np.array_equal(batch.boxes[row, :count], single.boxes[0])
        masks = single.masks[0][:, ::4, ::4]
        assert masks.any()
        assert np.array_equal(batch.masks[row, :count, : masks.shape[1], : masks.shape[2]], masks)
        assert batch.masks[row].sum() == masks.sum()
    no_stride = next(iter(DataLoader(dataset, FITTED, batch_size=6, pad_stride=1, mask_stride=1, seed=2).epoch(0)))
    assert no_stride.images.shape[2:] == tuple(max(sides) for sides in zip(*sizes, strict=True))


def test_shapes_travel_instead_of_masks(synthetic: Path) -> None:
    dataset = CocoDataset(synthetic)
    with_masks = DataLoader(dataset, FITTED, batch_size=3, pad_stride=32, mask_stride=1)
    with_shapes = DataLoader(dataset, FITTED, batch_size=3, pad_stride=32, keep_segments=True)
    for drawn, kept in zip(with_masks.epoch(0), with_shapes.epoch(0), strict=True):
        assert drawn.segments is None
        assert kept.segments is not None
        assert kept.masks.shape == (*kept.boxes.shape[:2], 0, 0)
        assert np.array_equal(drawn.images, kept.images)
        for row, shapes in enumerate(kept.segments):
            assert len(shapes) == kept.pad_mask[row].sum()
            height, width = kept.image_sizes[row].astype(int)
            for mask, shape in zip(drawn.masks[row], shapes, strict=False):
                assert np.array_equal(mask[:height, :width], shape.to_mask(height, width))


def test_one_size_per_batch_and_many_per_epoch(synthetic: Path) -> None:
    dataset = CocoDataset(synthetic)
    dataset.records[:] = dataset.records * 4
    whole = list(DataLoader(dataset, BATCH_SIZES, batch_size=2, seed=1).epoch(0))
    assert {batch.images.shape[2:] for batch in whole} == {(64, 64), (96, 96), (128, 128)}
    for start in (1, 5, 11):
        assert_all_equal(whole[start:], DataLoader(dataset, BATCH_SIZES, batch_size=2, seed=1).epoch(0, start))
    other = list(DataLoader(dataset, BATCH_SIZES, batch_size=2, seed=1).epoch(1))
    assert [batch.images.shape for batch in whole] != [batch.images.shape for batch in other]
    # Two processes take their parts of the same batches, at the same size.
    parts = [
        list(DataLoader(dataset, BATCH_SIZES, batch_size=1, seed=1, rank=rank, ranks=2).epoch(0)) for rank in (0, 1)
    ]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert np.array_equal(batch.images, np.concatenate([first.images, second.images]))


def keep_instances(record: ImageRecord, count: int) -> ImageRecord:
    return ImageRecord(
        record.image_id,
        record.path,
        record.height,
        record.width,
        record.boxes[:count],
        record.class_ids[:count],
        record.shapes[:count],
        record.is_crowd[:count],
    )


def test_a_batch_without_instances_has_n_0(synthetic: Path) -> None:
    dataset = CocoDataset(synthetic)
    dataset.records[:] = [keep_instances(record, 0) for record in dataset.records]
    batch = next(iter(DataLoader(dataset, RECIPE, batch_size=3).epoch(0)))
    assert batch.boxes.shape == (3, 0, 4)
    assert batch.masks.shape == (3, 0, 32, 40)
    assert batch.pad_mask.shape == (3, 0, 1)


def test_masks_are_the_full_masks_thinned(synthetic: Path) -> None:
    dataset = CocoDataset(synthetic)
    small = next(iter(DataLoader(dataset, RECIPE, batch_size=6).epoch(0)))
    full = next(iter(DataLoader(dataset, RECIPE, batch_size=6, mask_stride=1).epoch(0)))
    assert small.masks.any()
    assert np.array_equal(small.masks, full.masks[:, :, ::4, ::4])


def test_normalization(synthetic: Path) -> None:
    dataset = CocoDataset(synthetic)
    pixels = dataset[0].image
    unchanged = build_transforms([{"Resize": {"target_size": [160, 200], "keep_ratio": False}}])
    settings = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    plain = next(iter(DataLoader(dataset, unchanged, batch_size=1, shuffle=False).epoch(0)))
    shifted = next(iter(DataLoader(dataset, unchanged, batch_size=1, shuffle=False, normalization=settings).epoch(0)))
    assert plain.images[0] == pytest.approx(pixels.transpose(2, 0, 1) / 255.0, abs=1e-6)
    expected = (pixels / 255.0 - settings.mean) / settings.std
    assert shifted.images[0] == pytest.approx(expected.transpose(2, 0, 1), abs=1e-5)


def test_epochs_shuffle_differently_and_cover_all(synthetic: Path) -> None:
    loader = DataLoader(CocoDataset(synthetic), PLAIN, batch_size=2, seed=3)
    orders = [np.concatenate([batch.image_ids for batch in loader.epoch(epoch)]).tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert orders[0] != orders[1] or orders[1] != orders[2]
    ordered = DataLoader(CocoDataset(synthetic), PLAIN, batch_size=4, shuffle=False, drop_last=False)
    assert [batch.image_ids.tolist() for batch in ordered.epoch(0)] == [[0, 1, 2, 3], [4, 5]]
    assert len(ordered) == 2
    assert len(DataLoader(CocoDataset(synthetic), PLAIN, batch_size=4)) == 1


def test_resuming_gives_the_same_batches(synthetic: Path) -> None:
    def loader(seed: int) -> DataLoader:
        return DataLoader(CocoDataset(synthetic), RECIPE, batch_size=2, seed=seed)

    whole = list(loader(1).epoch(4))
    assert_all_equal(whole, loader(1).epoch(4))
    assert_all_equal(whole[2:], loader(1).epoch(4, start_iteration=2))
    assert list(loader(1).epoch(4, start_iteration=3)) == []
    for other in (next(loader(2).epoch(4)), next(loader(1).epoch(5))):
        assert not np.array_equal(whole[0].images, other.images)


@pytest.mark.parametrize(("transforms", "keep_segments"), [(BATCH_SIZES, False), (FITTED, True)])
def test_workers_change_nothing_of_random_sizes(
    synthetic: Path, transforms: tuple[Step, ...], keep_segments: bool
) -> None:
    dataset = CocoDataset(synthetic)
    alone = DataLoader(dataset, transforms, batch_size=2, pad_stride=32, keep_segments=keep_segments)
    with DataLoader(
        dataset, transforms, batch_size=2, pad_stride=32, keep_segments=keep_segments, num_workers=2
    ) as loader:
        assert_all_equal(alone.epoch(0), loader.epoch(0))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_change_nothing(synthetic: Path, workers: int) -> None:
    before = set(children_of(os.getpid()))  # of earlier tests, such as a multiprocessing resource tracker
    dataset = CocoDataset(synthetic)
    alone = DataLoader(dataset, RECIPE, batch_size=1, seed=7)
    with DataLoader(dataset, RECIPE, batch_size=1, seed=7, num_workers=workers, prefetch_batches=1) as loader:
        assert_all_equal(alone.epoch(0), loader.epoch(0))
        assert_all_equal(alone.epoch(1, 2), loader.epoch(1, 2))
        left_early = loader.epoch(2)
        next(left_early)
        del left_early
        assert_all_equal(alone.epoch(3), loader.epoch(3))
    assert not [child for child in children_of(os.getpid()) if child not in before and is_running(child)]


def test_two_epochs_at_once_are_refused(synthetic: Path) -> None:
    with DataLoader(CocoDataset(synthetic), PLAIN, batch_size=1, num_workers=1) as loader:
        first = loader.epoch(0)
        next(first)
        with pytest.raises(RuntimeError, match="still under way"):
            next(loader.epoch(1))
        assert len(list(first)) == 5


def test_errors_of_workers_arrive(editable: Path) -> None:
    dataset = CocoDataset(editable)
    dataset.records[1].path.write_bytes(b"no image")
    for workers in (0, 2):
        with (
            DataLoader(dataset, PLAIN, batch_size=1, num_workers=workers) as loader,
            pytest.raises(DataError, match=r"001\.png: not an image"),
        ):
            list(loader.epoch(0))


def test_a_program_error_in_a_worker_comes_with_its_trace(synthetic: Path, tmp_path: Path) -> None:
    (tmp_path / "custom_transform.py").write_text(
        "class Failing:\n    def __call__(self, sample, rng):\n        raise ValueError('on purpose')\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import custom_transform

        failing = [custom_transform.Failing()]
        with (
            DataLoader(CocoDataset(synthetic), failing, batch_size=1, num_workers=1) as loader,
            pytest.raises(RuntimeError, match=r"(?s)data worker failed.*on purpose"),
        ):
            list(loader.epoch(0))
    finally:
        sys.path.remove(str(tmp_path))


def test_a_killed_worker_is_reported(synthetic: Path) -> None:
    before = set(children_of(os.getpid()))
    with DataLoader(CocoDataset(synthetic), RECIPE, batch_size=1, num_workers=1, prefetch_batches=1) as loader:
        batches = loader.epoch(0)
        next(batches)
        for worker in set(children_of(os.getpid())) - before:
            os.kill(worker, signal.SIGKILL)
        with pytest.raises(RuntimeError, match=r"ended unexpectedly \(exit code -9\)"):
            list(batches)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_their_parent(synthetic: Path, how: signal.Signals) -> None:
    program = textwrap.dedent(f"""
        from instseg_trainer.data import CocoDataset, DataLoader, build_transforms
        transforms = build_transforms([{{"Resize": {{"target_size": 64, "keep_ratio": False}}}}])
        loader = DataLoader(CocoDataset({str(synthetic)!r}), transforms, batch_size=1, num_workers=2)
        while True:
            for batch in loader.epoch(0):
                print("batch", flush=True)
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "batch\n"
        workers = children_of(parent.pid)
        assert len(workers) == 2
        parent.send_signal(how)
        parent.stdout.close()
    assert wait_until(lambda: not any(is_running(worker) for worker in workers))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 7}, "6 images are less than one batch of 7"),
        ({"batch_size": 1, "num_workers": -1}, "num_workers is -1"),
        ({"batch_size": 1, "mask_stride": 0}, "mask_stride is 0"),
        ({"batch_size": 1, "prefetch_batches": 0}, "prefetch_batches is 0"),
    ],
)
def test_wrong_settings_are_refused(synthetic: Path, settings: dict[str, int], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        DataLoader(CocoDataset(synthetic), PLAIN, **settings)


def test_wrong_sizes_and_iterations_are_refused(synthetic: Path) -> None:
    dataset = CocoDataset(synthetic)
    with pytest.raises(DataError, match="epoch has 3 iterations"):
        DataLoader(dataset, PLAIN, batch_size=2).epoch(0, 4)
    with pytest.raises(DataError, match="multiple of the mask stride 64"):
        next(DataLoader(dataset, PLAIN, batch_size=2, mask_stride=64).epoch(0))
    with pytest.raises(DataError, match="end the transforms with a Resize"):
        list(DataLoader(dataset, RECIPE[:3], batch_size=6, mask_stride=1).epoch(0))


def test_the_data_pipeline_does_not_import_paddle() -> None:
    program = "import sys, instseg_trainer.data, instseg_trainer.evaluation; sys.exit('paddle' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


def test_epoch_seed_and_place_in_the_data_set_each_change_the_augmentation(synthetic: Path) -> None:
    dataset = CocoDataset(synthetic)
    dataset.records[:] = [dataset.records[0]] * 3

    def images(seed: int, epoch: int) -> np.ndarray:
        loader = DataLoader(dataset, RECIPE, batch_size=3, seed=seed, shuffle=False)
        return next(iter(loader.epoch(epoch))).images

    first = images(0, 0)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, images(0, 1))
    assert not np.array_equal(first, images(1, 0))
