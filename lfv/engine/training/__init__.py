"""A training, phase by phase: train() plans views, observes images, fits heads and finishes."""
