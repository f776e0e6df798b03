"""COCO metrics of detections. Needs no Paddle."""

from instseg_trainer.evaluation.coco_evaluator import CocoEvaluator, CocoMetrics, CocoScores, encode_masks

__all__ = ["CocoEvaluator", "CocoMetrics", "CocoScores", "encode_masks"]
