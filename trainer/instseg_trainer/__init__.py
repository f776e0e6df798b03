"""Train instance-segmentation models in PaddlePaddle, with the reference's names and numbers."""
