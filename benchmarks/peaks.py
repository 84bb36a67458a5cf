"""What this machine can do at most, measured: matrix products in each precision, and reading memory."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
from onnx import TensorProto, helper, numpy_helper

from coldmark.backends.build import processors
from coldmark.backends.openvino import HINTS
from coldmark.core.nouns import Precision

SIDE = 1536
LAYERS = 8
BYTES = 1 << 28
ROW_BYTES = 512


def _products(path: Path, *, quantised: bool) -> None:
    """A chain of square matrix products, as ONNX; quantised: with 8 bits on both sides of each."""
    rng = np.random.default_rng(0)
    weights, nodes = [], []
    for i in range(LAYERS):
        weight, source = rng.standard_normal((SIDE, SIDE), dtype=np.float32) / 40, f"x{i}"
        name = f"w{i}"
        if quantised:
            scale = np.float32(np.abs(weight).max() / 127)
            weights += [
                numpy_helper.from_array(np.rint(weight / scale).astype(np.int8), f"q{i}"),
                numpy_helper.from_array(scale, f"s{i}"),
                numpy_helper.from_array(np.float32(8 / 127), f"t{i}"),
                numpy_helper.from_array(np.int8(0), f"z{i}"),
            ]
            nodes += [
                helper.make_node("DequantizeLinear", [f"q{i}", f"s{i}", f"z{i}"], [name]),
                helper.make_node("QuantizeLinear", [source, f"t{i}", f"z{i}"], [f"{source}_8"]),
                helper.make_node("DequantizeLinear", [f"{source}_8", f"t{i}", f"z{i}"], [f"{source}_f"]),
            ]
            source = f"{source}_f"
        else:
            weights.append(numpy_helper.from_array(weight, name))
        nodes.append(helper.make_node("MatMul", [source, name], [f"x{i + 1}"]))
    ends = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, [SIDE, SIDE]) for i in (0, LAYERS)]
    graph = helper.make_graph(nodes, "products", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def product_peak(precision: Precision, seconds: float) -> float:
    """Operations/s (two a multiply-accumulate) of matrix products, all processors; the best of ten parts."""
    with tempfile.TemporaryDirectory() as folder:
        path, int8 = Path(folder) / "products.onnx", precision is Precision.INT8
        _products(path, quantised=int8)
        compiled = ov.Core().compile_model(
            str(path),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": HINTS[Precision.FP32 if int8 else precision],
                "INFERENCE_NUM_THREADS": processors(),
            },
        )
        request = compiled.create_infer_request()
        request.infer()
        work = 2.0 * LAYERS * SIDE**3
        return max(work * _calls_a_second(request.infer, seconds / 10) for _ in range(10))


def _calls_a_second(call: Callable[[], object], seconds: float) -> float:
    done, started = 0, time.perf_counter()
    while (now := time.perf_counter()) < started + seconds or not done:
        call()
        done += 1
    return done / (now - started)


def read_peak(seconds: float) -> float:
    """Bytes/s of summing large arrays, one a processor."""
    arrays = [np.ones(BYTES // 4, np.float32) for _ in range(processors())]
    return _together([lambda a=a: a.sum() for a in arrays], BYTES, seconds)


def gather_peak(seconds: float) -> float:
    """Bytes/s of taking random rows of 512 bytes out of a large table, one thread a processor."""
    rng = np.random.default_rng(0)
    table = np.ones((2 * BYTES // ROW_BYTES, ROW_BYTES // 4), np.float32)
    count = 1 << 15
    jobs = []
    for _ in range(processors()):
        rows, out = rng.integers(0, len(table), count), np.empty((count, ROW_BYTES // 4), np.float32)
        jobs.append(lambda rows=rows, out=out: np.take(table, rows, axis=0, out=out, mode="clip"))
    return _together(jobs, count * ROW_BYTES, seconds)


def _together(jobs: list[Callable[[], object]], each: int, seconds: float) -> float:
    """Bytes/s of jobs that each move `each` bytes a call, in a thread each."""
    rates = [0.0] * len(jobs)

    def work(at: int) -> None:
        rates[at] = each * _calls_a_second(jobs[at], seconds)

    threads = [threading.Thread(target=work, args=(at,)) for at in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(rates)
