"""Image files held in memory."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
"""Pixels, [height, width, 3], red first."""


def decode(encoded: bytes) -> Image:
    """Decode an image file held in memory (JPEG, PNG and whatever else OpenCV reads).

    Returns uint8 [height, width, 3], red first; grey images get three equal channels.
    Raises ValueError when the bytes are not an image that can be decoded.
    """
    if not encoded:
        raise ValueError("cannot decode an image from 0 bytes")
    try:
        bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"cannot decode the image ({len(encoded)} bytes): {error}") from error
    if bgr is None:
        raise ValueError(f"cannot decode the image ({len(encoded)} bytes): unknown or broken format")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
