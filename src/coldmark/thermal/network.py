"""A lumped thermal network: nodes that hold heat, links that conduct it, streams that carry it away.

Heat balance of node i:  C_i dT_i/dt = P_i + sum_links (T_j - T_i)/R + sum_streams w (T_up - T_i), with w = m
cp of the stream that enters i (upwind, well mixed). A link from a solid to a coolant volume may be referred
to the mean of the stream's inlet and outlet: that is how cold plates are tabulated, and it keeps the caloric
rise from being counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from coldmark.core.errors import ConfigError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A volume of one temperature."""

    name: str
    c_j_per_k: float  # heat capacity [J/K], > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A heat path between two nodes, or a node and a boundary."""

    a: str
    b: str
    r_k_per_w: float  # thermal resistance [K/W], > 0
    mean_of_stream: bool = False  # b is a coolant volume; refer to the mean of its inlet and outlet


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Coolant or air that enters node `b` at the temperature of `a`, a node or a boundary."""

    a: str
    b: str
    w_per_k: float  # heat capacity rate m cp [W/K], >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Nodes, links, streams; `boundaries` are names of imposed temperatures."""

    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    streams: tuple[Stream, ...] = ()
    boundaries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrices:
    """C dT/dt = K T + B T_boundary + P, and the heat that leaves: q = leave . T - enter . T_boundary [W]."""

    names: tuple[str, ...]
    boundaries: tuple[str, ...]
    c: Array  # [n] heat capacities [J/K]
    k: Array  # [n, n] conductances [W/K]
    b: Array  # [n, m] conductances to boundaries [W/K]
    leave: Array  # [n] W/K
    enter: Array  # [m] W/K
    index: Mapping[str, int] = field(default_factory=dict)


def matrices(net: Network) -> Matrices:
    """The network as matrices. Raises ConfigError naming the node, link or stream that cannot be meant."""
    index = {node.name: i for i, node in enumerate(net.nodes)}
    bounds = {name: i for i, name in enumerate(net.boundaries)}
    if len(index) != len(net.nodes):
        raise ConfigError("two nodes have one name", where="network")
    n, m = len(index), len(bounds)
    c = np.array([node.c_j_per_k for node in net.nodes], dtype=float)
    for node in net.nodes:
        _require(node.c_j_per_k > 0, f"node {node.name}", f"heat capacity {node.c_j_per_k:g} J/K")
    k, b = np.zeros((n, n)), np.zeros((n, m))
    out = Matrices(
        names=tuple(index),
        boundaries=net.boundaries,
        c=c,
        k=k,
        b=b,
        leave=np.zeros(n),
        enter=np.zeros(m),
        index=index,
    )
    _add_streams(out, net.streams, bounds)
    inlets, pull = _inlets(net.streams), dict[str, float]()
    for link in net.links:
        if link.mean_of_stream and link.r_k_per_w > 0:
            pull[link.b] = pull.get(link.b, 0.0) + 0.5 / link.r_k_per_w
    for link in net.links:
        _add_link(out, link, bounds, inlets, pull)
    return out


def _add_streams(out: Matrices, streams: Sequence[Stream], bounds: Mapping[str, int]) -> None:
    """Advection, upwind. What enters a node and does not go on to another one leaves the network."""
    left = np.zeros(len(out.names))
    for s in streams:
        _require(s.w_per_k >= 0, f"stream {s.a} -> {s.b}", f"heat rate {s.w_per_k:g} W/K", "0 or more")
        j = _node(out, s.b, "stream")
        out.k[j, j] -= s.w_per_k
        left[j] += s.w_per_k
        if s.a in bounds:
            out.b[j, bounds[s.a]] += s.w_per_k
            out.enter[bounds[s.a]] += s.w_per_k
        else:
            i = _node(out, s.a, "stream")
            out.k[j, i] += s.w_per_k
            left[i] -= s.w_per_k
    if np.any(left < -1e-9 * (1 + np.abs(left).max(initial=0.0))):
        name = out.names[int(np.argmin(left))]
        raise ConfigError(f"more flow leaves {name} than enters it", where=f"stream {name}")
    out.leave[:] += np.maximum(left, 0.0)


def _inlets(streams: Sequence[Stream]) -> dict[str, list[Stream]]:
    found: dict[str, list[Stream]] = {}
    for s in streams:
        if s.w_per_k > 0:
            found.setdefault(s.b, []).append(s)
    return found


def _add_link(
    out: Matrices,
    link: Link,
    bounds: Mapping[str, int],
    inlets: Mapping[str, list[Stream]],
    pull: Mapping[str, float],
) -> None:
    """One link. Referred to the mean of a stream only while the stream is faster than all such links pull."""
    _require(link.r_k_per_w > 0, f"link {link.a} - {link.b}", f"resistance {link.r_k_per_w:g} K/W")
    g = 1.0 / link.r_k_per_w
    i = _node(out, link.a, "link")
    if link.b in bounds:
        out.k[i, i] -= g
        out.b[i, bounds[link.b]] += g
        out.leave[i] += g
        out.enter[bounds[link.b]] += g
        return
    j = _node(out, link.b, "link")
    ups = inlets.get(link.b, []) if link.mean_of_stream else []
    rate = sum(s.w_per_k for s in ups)
    if not ups or rate < pull[link.b]:  # stagnant: the volume's own temperature is all there is
        for p, q in ((i, j), (j, i)):
            out.k[p, p] -= g
            out.k[p, q] += g
        return
    out.k[i, i] -= g
    out.k[j, i] += g
    _refer(out, i, j, g / 2, out.k[:, j])
    for s in ups:
        column = out.b[:, bounds[s.a]] if s.a in bounds else out.k[:, out.index[s.a]]
        _refer(out, i, j, g / 2 * s.w_per_k / rate, column)


def _refer(out: Matrices, i: int, j: int, g: float, column: Array) -> None:
    """The solid i gives to volume j; `column` is the temperature that pulls the heat flow down."""
    column[i] += g
    column[j] -= g


def _node(out: Matrices, name: str, what: str) -> int:
    if name not in out.index:
        raise ConfigError(f"no node {name!r}", where=what)
    return out.index[name]


def _require(holds: bool, where: str, found: str, permitted: str = "above 0") -> None:
    if not holds:
        raise ConfigError(f"{found} is not permitted", where=where, hint=f"permitted: {permitted}")


def steady(mats: Matrices, power_w: Array, boundary_degc: Array) -> Array:
    """Temperatures [degC] at rest; `power_w` is [n] or [n, k], `boundary_degc` [m] or [m, k].

    Raises ConfigError where some part has no way to give its heat away.
    """
    rhs = power_w + mats.b @ boundary_degc
    try:
        found = np.asarray(np.linalg.solve(-mats.k, rhs), dtype=np.float64)
    except np.linalg.LinAlgError:
        found = np.full(rhs.shape, np.nan)
    if not np.all(np.isfinite(found)):
        raise ConfigError("some node has no heat path to a boundary", where="network")
    return found


def heat_leaving_w(mats: Matrices, degc: Array, boundary_degc: Array) -> float:
    """Heat that leaves with streams and to boundaries [W], from the parts, not from the balance."""
    return float(mats.leave @ degc - mats.enter @ boundary_degc)
