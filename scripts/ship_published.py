"""Make the table of v2.1's published results that the package ships, from the two archives it names.

    python scripts/ship_published.py FOLDER_WITH_THE_ARCHIVES

The facts are computed from mlcommons/inference_results_v2.1 at commit 91f7859b8 (Apache-2.0).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from coldmark.runs.publish import import_tree

ROUND, SOURCE = "v2.1", "mlcommons/inference_results_v2.1@91f7859b8"
ARCHIVES = ("mlperf-inference-v2.1-summaries.tar.xz", "mlperf-inference-v2.1-closed-nettrix.tar.xz")
TARGET = Path(__file__).parents[1] / "src/coldmark/store/data/published-v2.1.parquet"


def main() -> None:
    """Import both, the complete submission last: its detail logs say more."""
    with tempfile.TemporaryDirectory() as store:
        for number, name in enumerate(ARCHIVES):
            found = import_tree(
                Path(sys.argv[1]) / name, ROUND, Path(store), source=SOURCE, replace=number == 0
            )
            print(f"{name}: {len(found.rows)} runs, {len(found.findings)} findings")
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        TARGET.write_bytes((Path(store) / f"{ROUND}.parquet").read_bytes())
    print(f"{TARGET}: {found.total} rows, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
