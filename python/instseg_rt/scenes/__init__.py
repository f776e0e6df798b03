"""Rendered training scenes: pictures of five kinds of solids with exact instance masks.

    scene = render_scene(seed=7)
    scene.image                      # (320, 320, 3) uint8 RGB
    [(CLASS_NAMES[i.class_id], i.mask.sum()) for i in scene.instances]

`instseg_rt.scenes.dataset.make_dataset` writes many of them as a COCO data set.
"""

from instseg_rt.scenes.renderer import Scene, SceneInstance, render_scene
from instseg_rt.scenes.shapes import CLASS_NAMES

__all__ = ["CLASS_NAMES", "Scene", "SceneInstance", "render_scene"]
