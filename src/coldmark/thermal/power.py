"""Power and clocks of an accelerator: P(f, T), the highest clock within a limit, and what a clock is worth.

P(f, T) = static + u dynamic V(f)^2 f / (V_b^2 f_b) + leakage(V, T), with f_b the boost clock;
V(f) = V_min + s max(0, f - f_knee);  leakage = L0 (V / V_b) exp(k (T - 60 degC)), L0 = slope TDP / k.
Time of a sample: t(f) / t(f_b) = core f_b / f + memory f_m,ref / f_m + host, the three shares adding to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coldmark.thermal.model import Part
from coldmark.thermal.network import Array

LEAKAGE_AT_DEGC = 60.0
BIN_MHZ = 15.0
"""Width of a clock bin. The governor dithers between two; the mean clock is carried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a benchmark asks of an accelerator. `*_w` hold for the part they are scaled to."""

    core_share: float  # of a sample's time at boost clock: scales with the core clock
    memory_share: float  # scales with the memory clock
    static_w: float  # board, HBM: whatever neither clock nor temperature changes
    dynamic_w: float  # at boost clock and its voltage, fully busy

    @property
    def host_share(self) -> float:
        """The share that scales with no clock of the accelerator."""
        return 1.0 - self.core_share - self.memory_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Electrics:
    """Voltage curve and leakage of a part."""

    idle_mhz: float
    boost_mhz: float
    voltage_min_v: float
    knee_mhz: float
    slope_v_per_mhz: float
    leakage_w: float  # at 60 degC and the voltage of the boost clock
    leakage_rate_per_k: float

    def voltage_v(self, mhz: Array) -> Array:
        """V(f) [V] on the clocks given."""
        found: Array = self.voltage_min_v + self.slope_v_per_mhz * np.maximum(0.0, mhz - self.knee_mhz)
        return found


def electrics(part: Part) -> Electrics:
    """The part's curve as its file has it."""
    rate = part.leakage_rate_per_k.value
    return Electrics(
        idle_mhz=part.idle_mhz.value,
        boost_mhz=part.boost_mhz.value,
        voltage_min_v=part.voltage_min_v.value,
        knee_mhz=part.voltage_knee_mhz.value,
        slope_v_per_mhz=part.voltage_slope_mv_per_mhz.value * 1e-3,
        leakage_w=part.leakage_slope_pct_per_k.value / 100 * part.tdp_w.value / rate,
        leakage_rate_per_k=rate,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Power over clock, tabulated in bins, for one activity on one part."""

    mhz: Array  # [f], ascending, last is the boost clock
    fixed_w: Array  # [f] static and dynamic power
    leak_w: Array  # [f] leakage at 60 degC
    rate_per_k: float

    def leakage_w(self, mhz: Array, degc: Array) -> Array:
        """Leakage [W] at clocks and die temperatures of one shape."""
        found: Array = np.interp(mhz, self.mhz, self.leak_w) * self._growth(degc)
        return found

    def power_w(self, mhz: Array, degc: Array) -> Array:
        """Module power [W] at clocks and die temperatures of one shape."""
        found: Array = np.interp(mhz, self.mhz, self.fixed_w) + self.leakage_w(mhz, degc)
        return found

    def _growth(self, degc: Array) -> Array:
        # Beyond 250 degC there is no chip left; the bound keeps a runaway finite until it is reported.
        return np.exp(self.rate_per_k * (np.minimum(degc, 250.0) - LEAKAGE_AT_DEGC))

    def clock_mhz(self, limit_w: Array, degc: Array) -> Array:
        """The highest mean clock within a power limit, [..]; the lowest clock where even that is above it."""
        limit_w, degc = np.broadcast_arrays(limit_w, degc)
        p = self.fixed_w + self.leak_w * self._growth(degc)[..., None]
        top = len(self.mhz) - 1
        i = np.clip(np.sum(p <= limit_w[..., None], axis=-1) - 1, 0, top - 1)
        low = np.take_along_axis(p, i[..., None], -1)[..., 0]
        high = np.take_along_axis(p, i[..., None] + 1, -1)[..., 0]
        share = np.clip((limit_w - low) / (high - low), 0.0, 1.0)
        found: Array = self.mhz[i] + share * (self.mhz[i + 1] - self.mhz[i])
        return found


def curve(e: Electrics, activity: Activity, utilisation: float = 1.0) -> Curve:
    """Power over clock for a utilisation in [0, 1] (share of time the accelerator is busy)."""
    bins = max(2, round((e.boost_mhz - e.idle_mhz) / BIN_MHZ) + 1)
    mhz = np.linspace(e.idle_mhz, e.boost_mhz, bins)
    v = e.voltage_v(mhz)
    shape = v**2 * mhz / (v[-1] ** 2 * mhz[-1])
    return Curve(
        mhz=mhz,
        fixed_w=activity.static_w + utilisation * activity.dynamic_w * shape,
        leak_w=e.leakage_w * v / v[-1],
        rate_per_k=e.leakage_rate_per_k,
    )


def sample_time(activity: Activity, mhz: Array, boost_mhz: float, memory_ratio: float) -> Array:
    """Time of a sample over that at boost clock and reference memory clock; `memory_ratio` = f_m /
    f_m,ref.
    """
    found: Array = (
        activity.core_share * boost_mhz / mhz + activity.memory_share / memory_ratio + activity.host_share
    )
    return found
