"""Percentiles as LoadGen counts them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def loadgen_percentile(sorted_latencies_ns: NDArray[np.int64], share: float) -> int:
    """The latency [ns] that LoadGen reports for a percentile: element floor(n * share).

    `sorted_latencies_ns` is ascending, shape [n], n > 0; `share` in [0, 1).
    Source: MLPerf LoadGen, percentile of sorted latencies; no interpolation.
    """
    n = len(sorted_latencies_ns)
    if n == 0 or not 0 <= share < 1:
        raise ValueError(f"n={n}, share={share}")
    return int(sorted_latencies_ns[min(n - 1, int(n * share))])
