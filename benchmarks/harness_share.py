"""What the harness costs: the rate through LoadGen over a bare loop on the same compiled model.

The bare loop is plain OpenVINO, written here apart from coldmark's own code: the same file, batch, streams,
threads and requests, one fixed input, no samples, no answers, no LoadGen. Each pair is measured
bare, LoadGen, bare in turn; the share is over the mean of its two neighbours. In Server the rate is
prescribed by the latency bound, so the figure there is the load carried, not a cost.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import openvino as ov
from common import machine, parser, report, run, spec, spread

from coldmark.core.nouns import DRIVEN, Scenario
from coldmark.runs.resolve import open_task, resolve
from coldmark.workloads.cache import cache_dir


def bare_rate(model: Any, sut: dict[str, Any], batch: int, seconds: float) -> float:
    """Samples/s of plain OpenVINO with what the SUT said it used."""
    core = ov.Core()
    graph = core.read_model(str(model.path))
    graph.reshape({graph.inputs[0]: [batch, *model.inputs[0].shape]})
    compiled = core.compile_model(
        graph,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": sut["streams"],
            "INFERENCE_NUM_THREADS": sut["threads"],
            "ENABLE_CPU_PINNING": False,
        },
    )
    if sut["issue"] == "inline":
        return _inline(compiled.create_infer_request(), batch, seconds)
    return _queued([compiled.create_infer_request() for _ in range(sut["requests"])], batch, seconds)


def _inline(request: Any, batch: int, seconds: float) -> float:
    for _ in range(3):
        request.infer(share_outputs=True)
    done, started = 0, time.perf_counter()
    while (now := time.perf_counter()) < started + seconds:
        request.infer(share_outputs=True)
        done += batch
    return done / (now - started)


def _queued(requests: list[Any], batch: int, seconds: float) -> float:
    for request in requests:
        request.infer()
    landed, over, left = [0], threading.Semaphore(0), [True]

    def again(request: Any) -> None:
        landed[0] += 1
        if left[0]:
            request.start_async()
        else:
            over.release()

    for request in requests:
        request.set_callback(again, request)
    started = time.perf_counter()
    for request in requests:
        request.start_async()
    time.sleep(seconds)
    left[0] = False
    for _ in requests:
        over.acquire()
    return landed[0] * batch / (time.perf_counter() - started)


def measure(model: str, scenario: Scenario, repeats: int, seconds: float) -> dict[str, Any]:
    """The shares of one model in one scenario."""
    what = spec(model, scenario, seconds=seconds)
    task = open_task(resolve(what), cache_dir())
    shares: list[float] = []
    rates: list[float] = []
    bares: list[float] = []
    for _ in range(repeats):
        record, outcome, _ = run(what)
        assert record.harness is not None
        sut = outcome["sut"]
        batch = sut["batch"]
        if not bares:
            bares.append(bare_rate(task.model, sut, batch, seconds / 2))
            record, outcome, _ = run(what)
            assert record.harness is not None
        bares.append(bare_rate(task.model, sut, batch, seconds / 2))
        assert record.harness.rate is not None
        rates.append(record.harness.rate)
        shares.append(record.harness.rate / (0.5 * (bares[-1] + bares[-2])))
    return {
        "model": model,
        "scenario": scenario.value,
        "batch": batch,
        "streams": sut["streams"],
        "shares": shares,
        "rates": rates,
        "bare_rates": bares,
    }


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--models", nargs="*", default=["mini", "full"])
    given = options.parse_args()
    where = machine()
    rows = [measure(m, s, given.repeats, given.seconds) for m in given.models for s in DRIVEN]
    report(
        "rate through LoadGen over a bare OpenVINO loop, FP32",
        ["model", "scenario", "batch", "streams", "share: median (range)", "samples/s", "bare samples/s"],
        rows,
        lambda r: [
            r["model"],
            r["scenario"],
            str(r["batch"]),
            str(r["streams"]),
            spread(r["shares"]),
            f"{sorted(r['rates'])[len(r['rates']) // 2]:.4g}",
            f"{sorted(r['bare_rates'])[len(r['bare_rates']) // 2]:.4g}",
        ],
        where,
        given.json,
    )


if __name__ == "__main__":
    main()
