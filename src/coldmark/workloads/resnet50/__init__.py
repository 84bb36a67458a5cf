"""Image classification with ResNet-50 v1.5: top-1 over a held-out set."""
