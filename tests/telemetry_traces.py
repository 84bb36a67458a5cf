"""Traces of a made-up GPU whose losses are known, for tests of the verdict.

The generator has laws of its own, which the verdict does not know: power goes with the cube of the clock,
the rate with a power of the clock, heat through one RC node with a relay that throttles. What is lost to
whom is summed from the rate without noise. What the verdict sees is coarser: whole degrees, clocks in steps
of 15 MHz, bits, whole samples, times that jitter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coldmark.core.trace import Array, Channel, Series, Trace
from coldmark.runs.telemetry.window import Window

TICK_S = 0.1
BEFORE_S = 2.0
TOP_MHZ = 1410.0
POWER, HEAT = 0x4, 0x20


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One made-up machine and what it does."""

    seed: int
    seconds: float = 240.0
    elasticity: float = 0.7  # d ln rate / d ln clock
    rate: float = 2000.0  # samples/s at the top clock
    limit_w: float = 400.0
    full_w: float = 380.0  # at the top clock; above the limit it is capped
    heavy_w: float = 0.0  # added in every second stretch of `stretch_s`
    stretch_s: float = 20.0
    throttle_degc: float = 200.0  # relay on; off 4 K below
    throttle_mhz: float = 900.0
    k_per_w: float = 0.12
    tau_s: float = 25.0
    neighbour: float = 0.0  # share of the rate lost to nobody's clock in the last third
    noise: float = 0.02  # of the rate in a tick
    slow_noise: float = 0.004  # of the rate, over seconds


@dataclass(frozen=True)
class Made:
    trace: Trace
    window: Window
    power_loss: float
    heat_loss: float
    other_loss: float


def make(gpu: Gpu) -> Made:
    """A trace and the truth about it."""
    rng = np.random.default_rng(gpu.seed)
    n = round(gpu.seconds / TICK_S)
    degc, hot, slow = 35.0, False, 0.0
    rows: list[tuple[float, ...]] = []
    lost = {POWER: 0.0, HEAT: 0.0, 0: 0.0}
    done = 0.0
    for i in range(n):
        t = i * TICK_S
        need = gpu.full_w + (gpu.heavy_w if int(t / gpu.stretch_s) % 2 else 0.0)
        capped = TOP_MHZ * min(1.0, gpu.limit_w / need) ** (1 / 3)
        hot = degc > gpu.throttle_degc - (4.0 if hot else 0.0)
        mhz = min(capped, gpu.throttle_mhz) if hot else capped
        cause = HEAT if hot and gpu.throttle_mhz < capped else POWER if capped < TOP_MHZ else 0
        watts = need * (mhz / TOP_MHZ) ** 3
        degc += (30.0 + gpu.k_per_w * watts - degc) * TICK_S / gpu.tau_s
        share = (mhz / TOP_MHZ) ** gpu.elasticity
        lost[cause] += 1 - share
        if gpu.neighbour and t > 2 / 3 * gpu.seconds:
            lost[0] += share * gpu.neighbour
            share *= 1 - gpu.neighbour
        slow += -slow * TICK_S / 3.0 + gpu.slow_noise * np.sqrt(2 * TICK_S / 3.0) * rng.standard_normal()
        done += gpu.rate * share * (1 + slow + gpu.noise * rng.standard_normal()) * TICK_S
        bits = (POWER if capped < TOP_MHZ else 0) | (HEAT if hot else 0)
        rows.append((degc, mhz + rng.normal(0, 4), watts + rng.normal(0, 3), bits, done))
    return Made(
        trace=_trace(np.array(rows), gpu, rng),
        window=Window(begin_s=BEFORE_S, end_s=BEFORE_S + n * TICK_S, basis="made up"),
        power_loss=lost[POWER] / n,
        heat_loss=lost[HEAT] / n,
        other_loss=lost[0] / n,
    )


def _trace(rows: Array, gpu: Gpu, rng: np.random.Generator) -> Trace:
    degc, mhz, watts, bits, done = rows.T
    t = BEFORE_S + np.arange(len(degc)) * TICK_S
    # What holds during a tick is seen somewhere within it; the counter is exact at its own time.
    seen = np.sort(t + rng.uniform(0, 0.02, len(t)))
    energy = np.cumsum(watts) * TICK_S
    end = t + TICK_S
    series = [
        _series("nvml", "gpu0", "temperature_degc", seen, np.floor(degc)),
        _series("nvml", "gpu0", "clock_mhz", seen, np.round(np.minimum(mhz, TOP_MHZ) / 15) * 15),
        _series("nvml", "gpu0", "power_w", seen, watts, covers="gpu"),
        _series("nvml", "gpu0", "power_limit_w", seen, np.full(len(t), gpu.limit_w)),
        _series("nvml", "gpu0", "reasons", seen, bits),
        _series("nvml", "gpu0", "utilisation_share", seen, np.ones(len(t))),
        _series("nvml", "gpu0", "energy_j", np.append(t[0], end), np.append(0.0, energy), covers="gpu"),
        _series("run", "test", "completed", np.append(t[0], end), np.floor(np.append(0.0, done))),
    ]
    constants = {
        "nvml.gpu0.slowdown_degc": 89.0,
        "nvml.gpu0.clock_max_mhz": TOP_MHZ,
    }
    return Trace(series={s.channel.name: s for s in series}, constants=constants)


def _series(family: str, component: str, quantity: str, t: Array, v: Array, covers: str = "") -> Series:
    channel = Channel(family=family, component=component, quantity=quantity, rate_hz=10.0, covers=covers)
    return Series(channel=channel, t_s=t, value=np.asarray(v, float))


def without(trace: Trace, *quantities: str) -> Trace:
    """The trace of a machine that lacks some channels."""
    from dataclasses import replace

    kept = {n: s for n, s in trace.series.items() if s.channel.quantity not in quantities}
    return replace(trace, series=kept)
