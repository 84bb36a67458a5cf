"""From clocks to scores: absolute rates per accelerator, calibrated on published results of one server a
family.

The score of a server is the sum over its accelerators of  r_ref t(f_ref) / t(f), times its host factor, and
never more than its hosts can feed. r_ref is a published score, t the time model of `power.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from coldmark.core.errors import ConfigError
from coldmark.core.nouns import Scenario
from coldmark.thermal.assembly import Assembly
from coldmark.thermal.calibration import Fit, Values, physics, reference_rate, relative_rate, response
from coldmark.thermal.catalogue import find_part, find_server
from coldmark.thermal.model import Part
from coldmark.thermal.network import Array
from coldmark.thermal.power import Activity, Curve, Electrics, curve, sample_time
from coldmark.thermal.workloads import fitted_name, published

H100_REFERENCE = "hgx-h100-air"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What turns relative rates into published units."""

    benchmark: str
    per_accelerator: float  # samples/s of one accelerator of the reference server
    relative: float  # its relative rate by the model
    source: str
    bytes_per_sample: float


def scale(values: Values, fit: Fit, benchmark: str, part: Part) -> Scale:
    """The absolute scale of a benchmark on a part's family.

    Raises ConfigError where nothing was published.
    """
    name = fitted_name(benchmark)
    size = published().bytes_per_sample[name].value
    if part.family == "a100":
        point = published().find("dgx-a100", name, Scenario.OFFLINE, 400.0)
        relative = reference_rate(values, name, fit.responses)
    else:
        point = published().find(H100_REFERENCE, name, Scenario.OFFLINE)
        server = find_server(H100_REFERENCE)
        r, limit = response(H100_REFERENCE), server.gpu.default_limit_w.value
        degc = r.base_degc + r.slope_k_per_w * limit
        relative = float(relative_rate(values, name, find_part(server.gpu.part), limit, degc))
    if point is None:
        raise ConfigError(
            f"no published {benchmark} score of {part.name} to scale by",
            where="--workload",
            hint="try bert-99",
        )
    return Scale(
        benchmark=name,
        per_accelerator=point.score / point.accelerators,
        relative=relative,
        source=point.published,
        bytes_per_sample=size,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A benchmark on the accelerators of an assembly: its power curve and what its clocks are worth."""

    asm: Assembly
    electrics: Electrics
    activity: Activity
    power: Curve
    scale: Scale
    pcie_factor: float
    utilisation: float = 1.0

    def rates(self, mhz: Array) -> Array:
        """Samples/s of each accelerator, were it fed at once; the shape of `mhz`.

        A stopped one gives none.
        """
        p = self.asm.part
        ratio = p.memory_mhz.value / p.memory_reference_mhz.value
        t = sample_time(self.activity, np.maximum(mhz, 1.0), p.boost_mhz.value, ratio)
        host = self.asm.server.host.rate_factor.value * self.pcie_factor
        found: Array = np.where(mhz > 1.0, self.scale.per_accelerator / self.scale.relative * host / t, 0.0)
        return found

    def total(self, mhz: Array) -> Array:
        """Samples/s of the server, [..] from [.., accelerators]: no more than the hosts can feed."""
        found: Array = np.minimum(self.rates(mhz).sum(axis=-1), self.feed_limit())
        return found

    def feed_limit(self) -> float:
        """Samples/s that the hosts can bring to the accelerators."""
        return self.asm.server.host.feed_gb_per_s.value * 1e9 / self.scale.bytes_per_sample

    def busy(self, utilisation: float) -> Engine:
        """The same with accelerators that are busy a share of the time."""
        power = curve(self.electrics, self.activity, utilisation)
        return replace(self, power=power, utilisation=utilisation)


def engine(asm: Assembly, values: Values, fit: Fit, benchmark: str) -> Engine:
    """A benchmark on an assembly."""
    name = fitted_name(benchmark)
    e, act = physics(values, name, asm.part)
    return Engine(
        asm=asm,
        electrics=e,
        activity=act,
        power=curve(e, act),
        scale=scale(values, fit, benchmark, asm.part),
        pcie_factor=values.pcie_factor if asm.part.form == "pcie" else 1.0,
    )
