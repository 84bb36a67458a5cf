"""Cases for `full`: seeded noise in shapes that are drawn as KiTS19's preprocessed cases lie.

The round's I/O figure for 3D-UNet is 32 381 026 voxels a sample, 123.5 cubes of 64 voxels: 5 188 cubes over
42 cases. The counts below give 124.1 on average; their spread is ours (scans of 200 to 800 mm, fields of view
of 300 to 500 mm, at 1.6 and 1.2 mm a voxel), as the shapes of the cases themselves are not published.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coldmark.workloads.unet3d.cases import CaseLibrary, Shape3

SEED = 128
CALIBRATION_SEED = 129
CASES = 43
DEPTHS = {2: 0.15, 3: 0.25, 4: 0.25, 5: 0.15, 6: 0.10, 7: 0.05, 8: 0.05}
"""Half windows along the depth, and how often."""
BREADTHS = {4: 0.15, 5: 0.40, 6: 0.35, 7: 0.10}
"""Half windows along height and width alike."""


def shapes(scale: float, window: int, count: int = CASES, seed: int = SEED) -> list[Shape3]:
    """Voxels of each case; `scale` shrinks its sides, to one window at least.

    Raises ValueError for a scale outside (0, 1].
    """
    if not 0 < scale <= 1:
        raise ValueError(f"a scale lies in (0, 1], got {scale}")
    rng = np.random.default_rng(seed)
    depths = rng.choice(list(DEPTHS), count, p=list(DEPTHS.values()))
    breadths = rng.choice(list(BREADTHS), count, p=list(BREADTHS.values()))
    half = window // 2

    def side(steps: int) -> int:
        return half * max(2, round(steps * scale))

    return [(side(d), side(b), side(b)) for d, b in zip(depths.tolist(), breadths.tolist(), strict=True)]


def noise_library(scale: float, window: int, performance_count: int, seed: int = SEED) -> CaseLibrary:
    """Normalised noise: there is nothing in it to be right about."""
    sizes = shapes(scale, window, seed=seed)

    def read(index: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([seed, index])
        return rng.standard_normal(sizes[index], dtype=np.float32)

    return CaseLibrary(f"noise-{window}", performance_count, sizes, window, read)
