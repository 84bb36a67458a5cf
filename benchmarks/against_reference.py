"""Ours against the reference way of running ResNet-50: ONNX Runtime, FP32, its default threads.

The peer is a plain loop of `session.run` over batches of 1 to 32, as the reference harness calls it, without
any harness around it, so it is flattered; its best batch counts. Ours is Offline through LoadGen, the best of
a few batches, FP32 and BF16. Rounds are interleaved; each ratio is within one round.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnxruntime as ort
from common import machine, parser, report, run, spec, spread

from coldmark.core.errors import ColdmarkError
from coldmark.core.nouns import Precision, Scenario
from coldmark.runs.resolve import open_task, resolve
from coldmark.workloads.cache import cache_dir

PEER_BATCHES = (1, 2, 4, 8, 16, 32)
OUR_BATCHES = (1, 8, 16)


def peer_rate(session: Any, name: str, shape: tuple[int, ...], batch: int, seconds: float) -> float:
    """Samples/s of ONNX Runtime at one batch."""
    feed = {name: np.random.default_rng(0).standard_normal((batch, *shape), dtype=np.float32)}
    session.run(None, feed)
    done, started = 0, time.perf_counter()
    while (now := time.perf_counter()) < started + seconds:
        session.run(None, feed)
        done += batch
    return done / (now - started)


def our_rate(model: str, precision: Precision, batch: int, seconds: float) -> float:
    """Samples/s of Offline through LoadGen at one batch; 0 where the processor lacks the precision."""
    what = spec(
        model, Scenario.OFFLINE, precision=precision, seconds=seconds, options={"backend.batch": str(batch)}
    )
    try:
        record, _, _ = run(what)
    except ColdmarkError as error:
        print(f"{precision}: {error}")
        return 0.0
    assert record.metric is not None
    return record.metric.value


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--models", nargs="*", default=["full", "mini"])
    given = options.parse_args()
    where = machine() | {"onnxruntime": ort.__version__}
    rows = [measure(model, given.repeats, given.seconds) for model in given.models]
    report(
        "best of ours, Offline through LoadGen, over the best bare ONNX Runtime FP32 loop",
        ["model", "ORT FP32 samples/s", "ours FP32", "FP32 ratio: median (range)", "ours BF16", "BF16 ratio"],
        rows,
        lambda r: [
            r["model"],
            spread(r["peer"]),
            spread(r["fp32"]),
            spread(r["fp32_ratio"]),
            spread(r["bf16"]),
            spread(r["bf16_ratio"]),
        ],
        where,
        given.json,
    )


def measure(model: str, repeats: int, seconds: float) -> dict[str, Any]:
    """Rounds of peer, FP32, BF16."""
    task = open_task(resolve(spec(model, Scenario.OFFLINE, seconds=1)), cache_dir())
    assert task.model is not None
    session = ort.InferenceSession(str(task.model.path), providers=["CPUExecutionProvider"])
    tensor = task.model.inputs[0]
    row: dict[str, Any] = {"model": model, "peer": [], "fp32": [], "bf16": []}
    for _ in range(repeats):
        row["peer"].append(
            max(peer_rate(session, tensor.name, tensor.shape, b, seconds / 4) for b in PEER_BATCHES)
        )
        for precision in Precision:
            row[precision.value].append(max(our_rate(model, precision, b, seconds) for b in OUR_BATCHES))
    for precision in Precision:
        row[f"{precision.value}_ratio"] = [
            a / b for a, b in zip(row[precision.value], row["peer"], strict=True)
        ]
    return row


if __name__ == "__main__":
    main()
