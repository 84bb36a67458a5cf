"""Preprocessing of encoded images for ResNet-50 and its small sibling `mini`.

The steps are those of the MLPerf Inference v2.1 reference, vision/classification, pre_process_vgg, said
again in own words and code: the shorter side is brought to size / 0.875, the centre is cut out, and the
channel means are taken away without any scaling. `mini` uses the very same steps with size 64.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.images import Image, decode

RGB_MEANS = (123.68, 116.78, 103.94)
"""Channel means subtracted, red, green, blue, on the 0 to 255 scale."""

CROP_PERCENT = 87.5
"""Side of the centre crop in percent of the shorter side of the resized image."""


def shorter_side(size: int) -> int:
    """Shorter side in px to resize to before a crop of `size` px: 256 for 224, 73 for 64."""
    if size < 1:
        raise ValueError(f"size must be at least 1 px, got {size}")
    return int(100.0 * size / CROP_PERCENT)


def resize_shorter(image: Image, shorter: int) -> Image:
    """Resize uint8 [h, w, 3] so that the shorter side is `shorter` px; the longer one is rounded down."""
    height, width = image.shape[:2]
    if height > width:
        target = (shorter, int(shorter * height / width))  # OpenCV wants (width, height)
    else:
        target = (int(shorter * width / height), shorter)
    return np.asarray(cv2.resize(image, target, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def centre_crop(image: Image, size: int) -> Image:
    """Cut the centre [size, size, 3] out of uint8 [h, w, 3]; a view, not a copy.

    An odd remainder goes to the right and the bottom. Raises ValueError when a side is below `size`.
    """
    height, width = image.shape[:2]
    if height < size or width < size:
        raise ValueError(f"cannot crop {size} x {size} px out of {width} x {height} px")
    top, left = int((height - size) / 2), int((width - size) / 2)
    return image[top : top + size, left : left + size]


def normalise(image: Image) -> NDArray[np.float32]:
    """Subtract the means: uint8 [h, w, 3] to contiguous float32 [3, h, w], about -124 to 151."""
    centred = image.astype(np.float32) - np.array(RGB_MEANS, np.float32)
    return np.ascontiguousarray(centred.transpose(2, 0, 1))


def preprocess(encoded: bytes, size: int = 224) -> NDArray[np.float32]:
    """Turn an encoded image into the network's input.

    `size` is the side of the input in px. Returns contiguous float32 [3, size, size], red first.
    Raises ValueError when the bytes cannot be decoded or size is below 1.
    """
    resized = resize_shorter(decode(encoded), shorter_side(size))
    return normalise(centre_crop(resized, size))
