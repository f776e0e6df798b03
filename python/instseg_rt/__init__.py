"""Run instance-segmentation bundles: `Predictor(bundle)(image)`."""
