"""ONNX Runtime on CPU. One session a stream, so that streams do not share a thread pool."""

from __future__ import annotations

import platform
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from coldmark.backends.batching import sut_for
from coldmark.backends.build import Backend, BuildRequest, processors, row_source
from coldmark.backends.engine import Done
from coldmark.backends.pipelines import PipelineBench
from coldmark.backends.rows import RowBench
from coldmark.backends.slots import Bench
from coldmark.backends.space import Axis, SpaceRequest, batches, delays, inline, shares
from coldmark.core.errors import BackendError, ConfigError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.sut import Model, Network, Pipeline, SystemUnderTest, Tensors

DEFAULT_BATCH = {Scenario.SINGLE_STREAM: 1, Scenario.MULTI_STREAM: 8, Scenario.SERVER: 8, Scenario.OFFLINE: 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxRuntimeOptions:
    """`--set backend.KEY=VALUE`. Absent values follow the scenario."""

    batch: int | None = None  # largest batch of one call
    streams: int | None = None  # sessions, and calls at a time
    threads: int | None = None  # threads in all
    delay_us: float = 0.0  # how long an idle session waits for a batch to fill

    def __post_init__(self) -> None:
        for name in ("batch", "streams", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{value} is below 1", where=f"--set backend.{name}")
        if not 0 <= self.delay_us <= 1e6:
            raise ConfigError(f"{self.delay_us} is not in 0 to 1e6", where="--set backend.delay_us")


class _Lane:
    """A session with input tensors of the largest batch; smaller batches are views of them.

    Where it is started rather than run, a thread of its own waits for the next batch.
    """

    def __init__(self, session: Any, model: Model, largest: int) -> None:
        self._session = session
        self._names = [spec.name for spec in model.inputs]
        self._outputs_wanted = list(model.outputs)
        self._inputs = [np.zeros((largest, *spec.shape), spec.dtype) for spec in model.inputs]
        self._views = {n: [tensor[:n] for tensor in self._inputs] for n in range(1, largest + 1)}
        self._results: Tensors = []
        self._work: SimpleQueue[tuple[int, Done] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def inputs(self, bucket: int) -> Tensors:
        return self._views[bucket]

    def outputs(self, bucket: int) -> Tensors:
        return self._results

    def run(self, bucket: int) -> None:
        feed = dict(zip(self._names, self._views[bucket], strict=True))
        self._results = self._session.run(self._outputs_wanted, feed)

    def start(self, bucket: int, done: Done) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="onnxruntime-lane", daemon=True)
            self._thread.start()
        self._work.put((bucket, done))

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            bucket, done = work
            try:
                self.run(bucket)
            except BaseException as error:  # noqa: BLE001 - a thread edge
                done(self, error)
            else:
                done(self, None)

    def stop(self) -> None:
        self._work.put(None)


class _Engine:
    """Sessions over one model. Any batch up to the largest is computed as it is: no padding."""

    def __init__(self, request: BuildRequest, model: Model) -> None:
        options: OnnxRuntimeOptions = request.options
        self.largest = options.batch or DEFAULT_BATCH[request.scenario]
        self.streams = options.streams or 1
        self.threads = options.threads or processors()
        self._precision = request.precision
        self._lanes = [
            _Lane(_session(request, model.path, max(1, self.threads // self.streams)), model, self.largest)
            for _ in range(self.streams)
        ]

    @property
    def lanes(self) -> Sequence[_Lane]:
        return self._lanes

    def bucket(self, n: int) -> int:
        return n

    def describe(self) -> dict[str, Any]:
        return {
            "precision": self._precision.value,
            "batch": self.largest,
            "streams": self.streams,
            "threads": self.threads,
            "requests": len(self._lanes),
        }

    def close(self) -> None:
        for lane in self._lanes:
            lane.stop()


def _require(precision: Precision) -> None:
    if precision is Precision.BF16 and platform.machine() not in ("aarch64", "arm64"):
        raise ConfigError(
            f"ONNX Runtime has no bf16 kernels for {platform.machine()} processors",
            where="--precision",
            hint="--backend openvino has, where the processor does; or --precision fp32",
        )


def _session(request: BuildRequest, path: Path, threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning pools of several streams steal the cores from each other.
    if request.scenario in (Scenario.SERVER, Scenario.OFFLINE):
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if request.precision is Precision.BF16:
        options.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "1")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BackendError(
            f"ONNX Runtime cannot load the model: {str(error).splitlines()[0]}", where=str(path)
        ) from error


class _Compiled:
    """A network of a pipeline as one lane has it."""

    def __init__(self, session: Any, network: Network) -> None:
        self._session = session
        self._names = network.inputs
        self._outputs = list(network.outputs)
        types = {port.name: _DTYPES[port.type] for port in session.get_inputs()}
        self.dtypes = [np.dtype(types[name]) for name in network.inputs]

    def __call__(self, *inputs: NDArray[Any]) -> Tensors:
        found: Tensors = self._session.run(self._outputs, dict(zip(self._names, inputs, strict=True)))
        return found


def _pipeline_bench(request: BuildRequest, pipeline: Pipeline) -> PipelineBench:
    """A session a lane and network, so that lanes do not share a thread pool."""
    options: OnnxRuntimeOptions = request.options
    inline = request.scenario in (Scenario.SINGLE_STREAM, Scenario.MULTI_STREAM)
    streams, threads = options.streams or 1, options.threads or processors()

    def lane(networks: Sequence[Network]) -> dict[str, _Compiled]:
        each = max(1, threads // streams)
        return {n.name: _Compiled(_session(request, n.path, each), n) for n in networks}

    facts = {"precision": request.precision.value, "streams": streams, "threads": threads}
    return PipelineBench(pipeline, 1 if inline else streams, options.batch, request.scenario, lane, facts)


_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


def _build(request: BuildRequest) -> SystemUnderTest:
    model = request.model
    bench: Bench
    if isinstance(model, Pipeline):
        bench = _pipeline_bench(request, model)
    else:
        bench = RowBench(_Engine(request, model), model, row_source(request.library))
    return sut_for("onnxruntime", bench, request, request.options.delay_us)


def _versions() -> Mapping[str, str]:
    return {"onnxruntime": str(ort.__version__)}


def _space(request: SpaceRequest) -> list[Axis]:
    n = request.processors
    batch = Axis(name="batch", values=batches(request), usual=request.batch)
    if inline(request.scenario):
        return [batch, Axis(name="threads", values=shares(n), usual=n)]
    found = [
        batch,
        Axis(name="streams", values=shares(n), usual=1),
        Axis(name="threads", values=shares(n), usual=n, at_least="streams"),
    ]
    if request.scenario is Scenario.SERVER:
        found.append(Axis(name="delay_us", values=delays(request), usual=0))
    return found


BACKEND = Backend(
    name="onnxruntime",
    options=OnnxRuntimeOptions,
    build=_build,
    versions=_versions,
    require=_require,
    space=_space,
)
