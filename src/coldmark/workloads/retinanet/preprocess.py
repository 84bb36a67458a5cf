"""Preprocessing of images for RetinaNet and its small sibling `mini`.

The steps are those of the MLPerf Inference v2.1 reference (vision/classification_and_detection,
pre_process_openimages_retinanet), said again in own code: brought to the square by linear interpolation in
float32 whatever the sides, then divided by 255. Mean and deviation are taken off inside the network.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.images import Image, decode


def from_pixels(image: Image, side: int) -> NDArray[np.float32]:
    """uint8 [h, w, 3], red first, to contiguous float32 [3, side, side] in 0 to 1."""
    pixels = image.astype(np.float32)
    if image.shape[:2] != (side, side):
        pixels = np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    pixels /= 255.0
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def preprocess(encoded: bytes, side: int) -> NDArray[np.float32]:
    """An encoded image as the network's input. Raises ValueError when it cannot be decoded."""
    return from_pixels(decode(encoded), side)
