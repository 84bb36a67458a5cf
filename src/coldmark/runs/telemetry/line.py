"""A verdict in one line: what was lost, how far from the limits, whether steady, and what is not known."""

from __future__ import annotations

from coldmark.core.telemetry import Level, LossShare, Telemetry, Why
from coldmark.runs.telemetry.reasons import HEAT, POWER

ZERO = 0.0005


def line(t: Telemetry) -> str:
    """`lost about 3.1 % to the power limit, 0 to heat; 9 K below slow-down; steady after 74 s; no ...`"""
    parts = [", ".join(p for p in (_lost(t.losses), *_clock_and_load(t)) if p), _heat(t), _power(t), _rate(t)]
    parts = [p for p in parts if p]
    if gaps := _gaps(t):
        parts.append(gaps)
    return "; ".join(parts) or "nothing can be said: no channel covers the run"


def _lost(losses: tuple[LossShare, ...]) -> str:
    if not losses:
        return ""
    shown = [x for x in losses if x.reason in (HEAT, POWER) or x.value is None or x.value >= ZERO]
    shown.sort(key=lambda x: -(x.value if x.value is not None else x.high or 0.0))
    words = [_loss(x) for x in shown]
    return f"lost {', '.join(words)}"


def _loss(x: LossShare) -> str:
    name = {"power limit": "the power limit", "neither": "neither clock nor temperature"}.get(
        x.reason, x.reason
    )
    if x.value is None:
        return f"at most {100 * (x.high or 0):.1f} % to {name}"
    if x.value < ZERO:
        return f"0 to {name}"
    return f"about {100 * x.value:.1f} % to {name} ({100 * (x.low or 0):.1f} to {100 * (x.high or 0):.1f})"


def _clock_and_load(t: Telemetry) -> list[str]:
    parts = []
    clocks = [x for x in t.levels if x.name == "clock"]
    if clocks:
        mean = sum(c.mean for c in clocks) / len(clocks) / 1000
        limit = clocks[0].limit
        parts.append(f"clock {mean:.2f} of {limit / 1000:.2f} GHz" if limit else f"clock {mean:.2f} GHz")
    if t.steal_share is not None and not t.device.startswith("gpu"):
        parts.append(f"steal {100 * t.steal_share:.1f} %")
    if t.other_load_share is not None and t.other_load_share >= 0.005 and not t.device.startswith("gpu"):
        parts.append(f"other load {100 * t.other_load_share:.0f} %")
    return parts


def _nearest(t: Telemetry, name: str) -> Level | None:
    known = [x for x in t.levels if x.name == name and x.limit is not None]
    return min(known, key=lambda x: (x.limit or 0) - x.highest, default=None)


def _heat(t: Telemetry) -> str:
    level = _nearest(t, "temperature")
    if level is None or level.limit is None:
        hottest = [x.highest for x in t.levels if x.name == "temperature"]
        return f"{max(hottest):.0f} degC at most" if hottest else ""
    room = level.limit - level.highest
    return f"{room:.0f} K below slow-down" if room > 0 else f"{-room:.0f} K above slow-down"


def _power(t: Telemetry) -> str:
    level = _nearest(t, "power")
    parts = [f"{level.mean:.0f} of {level.limit:.0f} W"] if level and level.limit else []
    parts += [
        f"{e.samples_per_j:.3g} samples/J ({e.covers})" for e in t.energy if e.samples_per_j is not None
    ]
    return ", ".join(parts)


def _rate(t: Telemetry) -> str:
    if t.throughput is None:
        return ""
    after = t.throughput.steady_after_s
    if after is None:
        text = "rate not steady"
    else:
        text = f"rate steady after {after:.0f} s" if after >= 1 else "rate steady from the start"
    for change in t.throughput.changes[:2]:
        text += f", {change.kind} of {100 * change.share:+.1f} % at {change.at_s:.0f} s ({change.cause})"
    return text


def _gaps(t: Telemetry) -> str:
    """What is missing, and which sensors would give it."""
    have = {x.name for x in t.levels}
    lacks = [f"no {name}" for name in ("clock", "temperature") if name not in have]
    lacks += [] if t.reasons else ["no throttle reasons"]
    lacks += [] if t.energy else ["no power"]
    if not lacks:
        return ""
    why: dict[str, set[str]] = {}
    for m in t.missing:
        if m.why is not Why.NOT_CONFIGURED:
            why.setdefault(m.why.value, set()).add(m.family)
    told = "; ".join(f"{word}: {', '.join(sorted(families))}" for word, families in sorted(why.items()))
    return ", ".join(lacks) + (f" ({told})" if told else "")
