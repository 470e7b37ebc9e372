"""Training: data, augmentation, matching, losses and the loop."""
