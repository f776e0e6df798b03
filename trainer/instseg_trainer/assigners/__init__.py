"""Which prediction answers for which object during training."""
