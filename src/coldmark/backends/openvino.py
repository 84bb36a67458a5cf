"""OpenVINO on CPU: asynchronous requests over streams, dynamic batching, padding to a compiled batch.

The latency configuration (one stream, all threads) serves the streams and Server; Offline may have
more streams. An FP32 run asks for f32 by name: on processors that have BF16, OpenVINO's default is BF16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from coldmark.backends.batching import sut_for
from coldmark.backends.build import Backend, BuildRequest, processors, row_source
from coldmark.backends.engine import Done, pick_bucket
from coldmark.backends.pipelines import PipelineBench
from coldmark.backends.rows import RowBench
from coldmark.backends.signal_stack import kept_signal_stack
from coldmark.backends.slots import Bench
from coldmark.backends.space import Axis, SpaceRequest, batches, delays, inline, shares
from coldmark.core.errors import BackendError, ConfigError, DataError
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.sut import Model, Network, Pipeline, SystemUnderTest, Tensors

HINTS = {Precision.FP32: "f32", Precision.BF16: "bf16"}
CAPABILITIES = {Precision.FP32: "FP32", Precision.BF16: "BF16", Precision.INT8: "INT8"}

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


class _Setup:
    """How this run compiles: streams, threads, precision."""

    def __init__(self, request: BuildRequest) -> None:
        options: OpenVinoOptions = request.options
        self.streams = options.streams or 1
        self.threads = options.threads or processors()
        self.precision = request.precision
        self._floating = request.floating if request.precision is Precision.INT8 else request.precision
        self._pin = options.pin
        self._core = ov.Core()

    def compile(
        self, path: Path, shapes: Mapping[str, Sequence[int]], outputs: Sequence[str], *, fp32: bool = False
    ) -> Any:
        """One network at one shape of its inputs (-1 is open), in the precision asked for."""
        hint = HINTS[Precision.FP32 if fp32 else self._floating]
        config = {
            "INFERENCE_PRECISION_HINT": hint,
            "NUM_STREAMS": self.streams,
            "INFERENCE_NUM_THREADS": self.threads,
            "ENABLE_CPU_PINNING": self._pin,
        }
        compiled = _compile(self._core, path, shapes, outputs, config)
        used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if used != hint:
            raise BackendError(f"asked for {hint}, OpenVINO compiled {used}", where=str(path))
        return compiled

    def describe(self) -> dict[str, Any]:
        facts = {"precision": self.precision.value, "streams": self.streams, "threads": self.threads}
        return facts | ({"floating": self._floating.value} if self.precision is Precision.INT8 else {})


class _Engine:
    """A model compiled for each batch size."""

    def __init__(self, request: BuildRequest, model: Model, setup: _Setup) -> None:
        options: OpenVinoOptions = request.options
        self.sizes = batch_sizes(request.scenario, options.batch, request.samples_per_query)
        self._setup = setup
        self._compiled = {
            size: setup.compile(model.path, {i.name: (size, *i.shape) for i in model.inputs}, model.outputs)
            for size in self.sizes
        }
        # A spare request keeps a batch ready; with several compiled sizes it would run beside, not behind.
        spare = 1 if len(self.sizes) == 1 else 0
        self._lanes = [_Lane(self._compiled) for _ in range(options.requests or setup.streams + spare)]

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
            **self._setup.describe(),
            "batch": self.largest,
            "compiled_batches": list(self.sizes),
            "requests": len(self._lanes),
        }

    def close(self) -> None:
        self._lanes = []
        self._compiled = {}


class _Compiled:
    """A network of a pipeline as one lane has it: a request for each profile, or one for all shapes."""

    def __init__(self, network: Network, by_profile: Mapping[Any, Any]) -> None:
        any_model = next(iter(by_profile.values()))
        self.dtypes = [np.dtype(port.element_type.to_dtype()) for port in any_model.inputs]
        self._name = network.name
        self._open = by_profile[None].create_infer_request() if network.dynamic else None
        self._requests = {key: _Request(model) for key, model in by_profile.items() if key is not None}

    def __call__(self, *inputs: NDArray[Any]) -> Tensors:
        if self._open is not None:
            found = self._open.infer(dict(enumerate(inputs)), share_inputs=True, share_outputs=True)
            return [found[i] for i in range(len(found))]
        key = tuple([array.shape for array in inputs])
        try:
            request = self._requests[key]
        except KeyError:
            raise BackendError(f"network {self._name!r} was not compiled for {key}") from None
        return request(inputs)


class _Request:
    """An infer request of one static shape, its tensors looked up once."""

    def __init__(self, model: Any) -> None:
        request = model.create_infer_request()
        self._request = request
        self._infer = partial(
            super(ov.InferRequest, request).infer,  # type: ignore[misc]
            {},
            share_outputs=True,
            decode_strings=False,
        )
        self._inputs = [request.get_input_tensor(i).data for i in range(len(model.inputs))]
        self._count = len(model.outputs)
        # An output of open shape has a new tensor after each run.
        fixed = all(port.partial_shape.is_static for port in model.outputs)
        self._outputs = [request.get_output_tensor(i).data for i in range(self._count)] if fixed else None

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> Tensors:
        for tensor, array in zip(self._inputs, inputs, strict=True):
            tensor[...] = array
        self._infer()
        return self._outputs or [self._request.get_output_tensor(i).data for i in range(self._count)]


def _pipeline_bench(request: BuildRequest, pipeline: Pipeline, setup: _Setup) -> PipelineBench:
    """Networks compiled once, requests a lane.

    In Offline a spare lane packs a batch while another computes; in Server it would take batches from the
    other and the interpreter from the thread that issues.
    """
    options: OpenVinoOptions = request.options
    made: dict[tuple[str, Any], Any] = {}

    def compiled(network: Network, profile: Any) -> Any:
        if (network.name, profile) not in made:
            shapes = _open_shapes(network) if profile is None else profile
            named = dict(zip(network.inputs, shapes, strict=True))
            made[network.name, profile] = setup.compile(
                network.path, named, network.outputs, fp32=network.fp32
            )
        return made[network.name, profile]

    def lane(networks: Sequence[Network]) -> dict[str, _Compiled]:
        return {
            n.name: _Compiled(n, {p: compiled(n, p) for p in ((None,) if n.dynamic else n.profiles)})
            for n in networks
        }

    lanes = {Scenario.SERVER: setup.streams, Scenario.OFFLINE: setup.streams + 1}.get(request.scenario, 1)
    if options.requests and request.scenario in (Scenario.SERVER, Scenario.OFFLINE):
        lanes = options.requests
    return PipelineBench(pipeline, lanes, options.batch, request.scenario, lane, setup.describe())


def _open_shapes(network: Network) -> list[list[int]]:
    """The shape that covers all profiles: -1 where they differ."""
    return [
        [sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*shapes, strict=True)]
        for shapes in zip(*network.profiles, strict=True)
    ]


def require(precision: Precision) -> None:
    has = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if CAPABILITIES[precision] not in has:
        raise ConfigError(
            f"this processor has no {precision.value} arithmetic",
            where="--precision",
            hint=f"it has: {', '.join(p.value for p in Precision if CAPABILITIES[p] in has)}",
        )


def _compile(
    core: Any,
    path: Path,
    shapes: Mapping[str, Sequence[int]],
    outputs: Sequence[str],
    config: Mapping[str, Any],
) -> Any:
    try:
        graph = core.read_model(str(path))
        named = {name: port for port in graph.inputs for name in port.names}
        graph.reshape({named[name]: list(shape) for name, shape in shapes.items()})
        wanted = [port for name in outputs for port in graph.outputs if name in port.names]
        order = [named[name].get_node() for name in shapes]
        if [p.get_node() for p in graph.outputs] != [p.get_node() for p in wanted] or order != list(
            graph.get_parameters()
        ):
            graph = ov.Model(wanted, order, graph.get_friendly_name())
        with kept_signal_stack():
            return core.compile_model(graph, "CPU", dict(config))
    except KeyError as error:
        raise DataError(f"the model has no input {error}", where=str(path)) from None
    except RuntimeError as error:
        first = str(error).strip().splitlines()
        raise BackendError(
            f"OpenVINO cannot compile the model: {first[-1] if first else error}", where=str(path)
        ) from error


def _build(request: BuildRequest) -> SystemUnderTest:
    setup, model = _Setup(request), request.model
    bench: Bench
    if isinstance(model, Pipeline):
        bench = _pipeline_bench(request, model, setup)
    else:
        library = row_source(request.library)
        bench = RowBench(_Engine(request, model, setup), model, library)
    return sut_for("openvino", bench, request, request.options.delay_us)


def _versions() -> Mapping[str, str]:
    return {"openvino": str(ov.get_version())}


def _space(request: SpaceRequest) -> list[Axis]:
    n = request.processors
    batch = Axis(name="batch", values=batches(request), usual=request.batch)
    threads, pin = shares(n), Axis(name="pin", values=(False, True), usual=False)
    if inline(request.scenario):
        return [batch, Axis(name="threads", values=threads, usual=n), pin]
    server = request.scenario is Scenario.SERVER
    found = [
        batch,
        Axis(name="streams", values=threads, usual=1),
        Axis(name="threads", values=threads, usual=n, at_least="streams"),
        Axis(
            name="requests",
            values=tuple(
                sorted({1, 2, 3, 4, *threads, *(t + 1 for t in threads), *(2 * t for t in threads)})
            ),
            usual=1 if server else 2,
            at_least="streams",
        ),
        pin,
    ]
    return [*found, Axis(name="delay_us", values=delays(request), usual=0)] if server else found


BACKEND = Backend(
    name="openvino",
    options=OpenVinoOptions,
    build=_build,
    versions=_versions,
    require=require,
    space=_space,
)
