"""How models are cut into stages: what each takes and returns."""

from __future__ import annotations

from . import mask_rcnn, mask_rtdetr, ppyoloe_seg, solov2
from .stage import FamilyStages, Stage, StageTensor

_BY_FAMILY: dict[str, FamilyStages] = {
    "ppyoloe_seg": ppyoloe_seg.STAGES,
    "mask_rtdetr": mask_rtdetr.STAGES,
    "solov2": solov2.STAGES,
    "mask_rcnn": mask_rcnn.STAGES,
}


def family_stages(family: str) -> FamilyStages:
    return _BY_FAMILY[family]


__all__ = ["FamilyStages", "Stage", "StageTensor", "family_stages"]
