"""OpenVINO on CPU: asynchronous requests over streams, dynamic batching, padding to a compiled batch.

The latency configuration (one stream, all threads) serves the streams and Server; Offline may have
more streams. An FP32 run asks for f32 by name: on processors that have BF16, OpenVINO's default is BF16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import openvino as ov

from coldmark.backends.batching import sut_for
from coldmark.backends.build import Backend, BuildRequest, processors
from coldmark.backends.engine import Done, pick_bucket
from coldmark.core.errors import BackendError, ConfigError, DataError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.sut import Model, SystemUnderTest, Tensors

HINTS = {Precision.FP32: "f32", Precision.BF16: "bf16"}
CAPABILITIES = {Precision.FP32: "FP32", Precision.BF16: "BF16"}

OFFLINE_BATCH = 8
SERVER_BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVinoOptions:
    """`--set backend.KEY=VALUE`. Absent values follow the scenario."""

    batch: int | None = None  # largest batch of one request
    streams: int | None = None  # requests computed at a time
    threads: int | None = None  # threads in all
    requests: int | None = None  # request slots; more than streams keeps one batch ready
    delay_us: float = 0.0  # how long an idle lane waits for a batch to fill
    pin: bool = False  # bind threads to cores

    def __post_init__(self) -> None:
        for name in ("batch", "streams", "threads", "requests"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{value} is below 1", where=f"--set backend.{name}")
        if not 0 <= self.delay_us <= 1e6:
            raise ConfigError(f"{self.delay_us} is not in 0 to 1e6", where="--set backend.delay_us")


def _powers_up_to(most: int) -> tuple[int, ...]:
    sizes = [1]
    while sizes[-1] * 2 < most:
        sizes.append(sizes[-1] * 2)
    return tuple(dict.fromkeys([*sizes, most]))


def batch_sizes(scenario: Scenario, batch: int | None, samples_per_query: int) -> tuple[int, ...]:
    """The batch sizes to compile, ascending: one, except in Server, where load decides."""
    if scenario is Scenario.SINGLE_STREAM:
        return (batch or 1,)
    if scenario is Scenario.MULTI_STREAM:
        return (batch or samples_per_query,)
    if scenario is Scenario.SERVER:
        return _powers_up_to(batch or SERVER_BATCH)
    return (batch or OFFLINE_BATCH,)


class _Lane:
    """One request slot: an infer request a batch size, its tensors looked up once."""

    def __init__(self, compiled: Mapping[int, Any]) -> None:
        self._requests: dict[int, Any] = {}
        self._infer: dict[int, Callable[[], Any]] = {}
        self._inputs: dict[int, Tensors] = {}
        self._outputs: dict[int, Tensors] = {}
        self._done: Done | None = None
        for size, model in compiled.items():
            request = model.create_infer_request()
            request.set_callback(self._landed, None)
            self._requests[size] = request
            # The class below the public one: the public `infer` spends 5 microseconds a call on looking
            # through inputs, and ours are in the tensors already.
            plain = super(ov.InferRequest, request).infer  # type: ignore[misc]
            self._infer[size] = partial(plain, {}, share_outputs=True, decode_strings=False)
            self._inputs[size] = [request.get_input_tensor(i).data for i in range(len(model.inputs))]
            self._outputs[size] = [request.get_output_tensor(i).data for i in range(len(model.outputs))]

    def inputs(self, bucket: int) -> Tensors:
        return self._inputs[bucket]

    def outputs(self, bucket: int) -> Tensors:
        return self._outputs[bucket]

    def run(self, bucket: int) -> None:
        self._infer[bucket]()

    def start(self, bucket: int, done: Done) -> None:
        self._done = done
        self._requests[bucket].start_async()

    def _landed(self, userdata: None) -> None:
        if self._done is not None:
            self._done(self, None)


class _Engine:
    """A model compiled for each batch size."""

    def __init__(self, request: BuildRequest) -> None:
        options: OpenVinoOptions = request.options
        self.sizes = batch_sizes(request.scenario, options.batch, request.samples_per_query)
        self.streams = options.streams or 1
        self.threads = options.threads or processors()
        self._precision = request.precision
        core = ov.Core()
        config = {
            "INFERENCE_PRECISION_HINT": HINTS[request.precision],
            "NUM_STREAMS": self.streams,
            "INFERENCE_NUM_THREADS": self.threads,
            "ENABLE_CPU_PINNING": options.pin,
        }
        self._compiled = {size: _compile(core, request.model, size, config) for size in self.sizes}
        self._check_precision()
        # A spare request keeps a batch ready; with several compiled sizes it would run beside, not behind.
        spare = 1 if len(self.sizes) == 1 else 0
        self._lanes = [_Lane(self._compiled) for _ in range(options.requests or self.streams + spare)]

    def _check_precision(self) -> None:
        for compiled in self._compiled.values():
            used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
            if used != HINTS[self._precision]:
                raise BackendError(f"asked for {HINTS[self._precision]}, OpenVINO compiled {used}")

    @property
    def lanes(self) -> Sequence[_Lane]:
        return self._lanes

    @property
    def largest(self) -> int:
        return self.sizes[-1]

    def bucket(self, n: int) -> int:
        return pick_bucket(self.sizes, n)

    def describe(self) -> dict[str, Any]:
        return {
            "precision": self._precision.value,
            "batch": self.largest,
            "compiled_batches": list(self.sizes),
            "streams": self.streams,
            "threads": self.threads,
            "requests": len(self._lanes),
        }

    def close(self) -> None:
        self._lanes = []
        self._compiled = {}


def _require(precision: Precision) -> None:
    has = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if CAPABILITIES[precision] not in has:
        raise ConfigError(
            f"this processor has no {precision.value} arithmetic",
            where="--precision",
            hint=f"it has: {', '.join(p.value for p in Precision if CAPABILITIES[p] in has)}",
        )


def _compile(core: Any, model: Model, size: int, config: Mapping[str, Any]) -> Any:
    try:
        graph = core.read_model(str(model.path))
        named = {port.get_any_name(): port for port in graph.inputs}
        graph.reshape({named[spec.name]: [size, *spec.shape] for spec in model.inputs})
        wanted = [port for name in model.outputs for port in graph.outputs if name in port.names]
        if len(graph.outputs) != len(wanted):
            graph = ov.Model(wanted, graph.get_parameters(), graph.get_friendly_name())
        return core.compile_model(graph, "CPU", dict(config))
    except KeyError as error:
        raise DataError(f"the model has no input {error}", where=str(model.path)) from None
    except RuntimeError as error:
        first = str(error).strip().splitlines()
        raise BackendError(
            f"OpenVINO cannot compile the model: {first[-1] if first else error}", where=str(model.path)
        ) from error


def _build(request: BuildRequest) -> SystemUnderTest:
    return sut_for("openvino", _Engine(request), request, request.options.delay_us)


def _versions() -> Mapping[str, str]:
    return {"openvino": str(ov.get_version())}


BACKEND = Backend(
    name="openvino", options=OpenVinoOptions, build=_build, versions=_versions, require=_require
)
