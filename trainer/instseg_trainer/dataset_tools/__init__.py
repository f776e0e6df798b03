"""Data sets of one's own: convert, split, check. Needs no Paddle."""

from instseg_trainer.dataset_tools.command import check_dataset

__all__ = ["check_dataset"]
