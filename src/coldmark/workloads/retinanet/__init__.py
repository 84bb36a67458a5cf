"""Object detection with RetinaNet: mAP at 0.50:0.95 over a held-out set."""
