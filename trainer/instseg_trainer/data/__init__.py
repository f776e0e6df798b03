"""Data pipeline: COCO files -> samples -> augmentation -> batches of arrays. Needs no Paddle."""

from instseg_trainer.data.coco import CocoDataset, DatasetSummary, ImageRecord
from instseg_trainer.data.coco_file import Category
from instseg_trainer.data.collate import Normalization
from instseg_trainer.data.errors import DataError
from instseg_trainer.data.loader import DataLoader
from instseg_trainer.data.sample import Batch, Sample
from instseg_trainer.data.segmentation import Segmentation
from instseg_trainer.data.transforms import BatchTransform, Step, Transform, build_transforms

__all__ = [
    "Batch",
    "BatchTransform",
    "Category",
    "CocoDataset",
    "DataError",
    "DataLoader",
    "DatasetSummary",
    "ImageRecord",
    "Normalization",
    "Sample",
    "Segmentation",
    "Step",
    "Transform",
    "build_transforms",
]
