"""Find and check server models: those that ship, and files of the user's own."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path

from coldmark.core.codec import read_toml
from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.thermal.air import INLET_CLASSES
from coldmark.thermal.exchanger import least_approach_k
from coldmark.thermal.fluids import find_fluid
from coldmark.thermal.model import Component, Design, Gpu, Loop, Part, ServerModel
from coldmark.thermal.parameters import check_parameters
from coldmark.thermal.plates import TABLES, find_table


def _cooled(model: ServerModel) -> list[tuple[str, Component | Gpu]]:
    """Everything that has its own way of being cooled, by its key in the file."""
    others = [(f"others.{name}", noun) for name, noun in model.others.items()]
    return [("gpu", model.gpu), ("cpu", model.cpu), ("memory", model.memory), *others]


def server_ids() -> list[str]:
    """The servers that ship."""
    return _names("servers")


def _names(folder: str) -> list[str]:
    root = resources.files("coldmark.thermal") / folder
    return sorted(entry.name[:-5] for entry in root.iterdir() if entry.name.endswith(".toml"))


def find_server(name: str, *, where: str = "SERVER") -> ServerModel:
    """A shipped server by id, or a file by its path (it ends in .toml). Raises ConfigError, DataError."""
    if name.endswith(".toml"):
        return load_server(Path(name))
    known = server_ids()
    if name not in known:
        hint = did_you_mean(name, known) + "; or give the path of a .toml file"
        raise ConfigError(f"no server {name!r}", where=where, hint=hint)
    return _shipped(name)


@cache
def _shipped(name: str) -> ServerModel:
    return load_server(Path(str(resources.files("coldmark.thermal") / "servers" / f"{name}.toml")))


@cache
def find_part(name: str) -> Part:
    """An accelerator by id. Raises ConfigError."""
    known = _names("parts")
    if name not in known:
        raise ConfigError(f"no part {name!r}", where="gpu.part", hint=did_you_mean(name, known))
    path = Path(str(resources.files("coldmark.thermal") / "parts" / f"{name}.toml"))
    part = read_toml(path, Part)
    check_parameters(part, str(path))
    return part


def load_server(path: Path) -> ServerModel:
    """A server file, checked. Raises ConfigError with the file, the key and the permitted range."""
    model = read_toml(path, ServerModel)
    where = str(path)
    check_parameters(model, where)
    part = find_part(model.gpu.part)
    check_limit(model.gpu.default_limit_w.value, part, f"{where}: gpu.default_limit_w")
    _among(model.design, list(model.designs), f"{where}: design")
    _among(model.air.inlet_class, list(INLET_CLASSES), f"{where}: air.inlet_class")
    _among(model.air.layout, ["series", "split"], f"{where}: air.layout")
    for key, noun in _cooled(model):
        _check_counts(noun, f"{where}: {key}")
    _check_loop(model, where)
    for name, design in model.designs.items():
        _check_design(model, design, f"{where}: designs.{name}")
    return replace(model, origin=where)


def _check_counts(noun: Component | Gpu, where: str) -> None:
    if not 1 <= noun.count <= 1000:
        raise ConfigError(f"count {noun.count} is not permitted", where=where, hint="permitted: 1 to 1000")
    if noun.plate is not None:
        _among(noun.plate.table, list(TABLES), f"{where}.plate.table")


def _check_loop(model: ServerModel, where: str) -> None:
    if model.loop is None:
        return
    find_fluid(model.loop.fluid, where=f"{where}: loop.fluid")
    if model.loop.pump is None:
        raise ConfigError(
            "a loop without pump",
            where=f"{where}: loop.pump",
            hint="add a table [loop.pump]; nothing would flow",
        )
    if model.gpu.count % model.loop.gpus_per_branch or model.loop.gpus_per_branch < 1:
        raise ConfigError(
            f"{model.loop.gpus_per_branch} does not divide {model.gpu.count} accelerators",
            where=f"{where}: loop.gpus_per_branch",
            hint=f"permitted: a divisor of {model.gpu.count}",
        )
    _check_cdu(model.loop, where)
    for key, noun in _cooled(model):
        plate = noun.plate
        if plate is not None and find_table(plate.table).fluid != model.loop.fluid:
            raise ConfigError(
                f"table {plate.table!r} was measured with {find_table(plate.table).fluid}, "
                f"the loop holds {model.loop.fluid}",
                where=f"{where}: {key}.plate.table",
                hint="use a table of the loop's fluid",
            )


def _check_cdu(loop: Loop, where: str) -> None:
    """An exchanger of a size that exists: a rated heat, and an approach that its flows allow."""
    if loop.cdu_rated_w.value <= 0:
        raise ConfigError(
            f"{loop.cdu_rated_w.value:g} W is not permitted",
            where=f"{where}: loop.cdu_rated_w",
            hint="permitted: above 0 W",
        )
    least = least_approach_k(loop)
    if loop.approach_k.value <= least:
        raise ConfigError(
            f"no exchanger of these flows has an approach of {loop.approach_k.value:g} K at "
            f"{loop.cdu_rated_w.value:g} W",
            where=f"{where}: loop.approach_k",
            hint=f"permitted: above {least:.3g} K, or more in loop.facility_l_per_min",
        )


def _check_design(model: ServerModel, design: Design, where: str) -> None:
    for key, noun in _cooled(model):
        way = design_way(design, key)
        _among(way, ["air", "plate"], f"{where}.{key.partition('.')[0]}")
        if getattr(noun, way) is None:
            raise ConfigError(
                f"{key} has no {way} data", where=f"{where}.{key}", hint=f"add a table [{key}.{way}]"
            )
        if way == "plate" and model.loop is None:
            raise ConfigError(
                "a cold plate without a loop", where=f"{where}.{key}", hint="add a table [loop]"
            )


def design_way(design: Design, key: str) -> str:
    """ "plate" or "air" for a part, by its key in the file."""
    way: str = getattr(design, key) if key in ("gpu", "cpu", "memory") else design.rest
    return way


def _among(name: str, known: list[str], where: str) -> None:
    if name not in known:
        raise ConfigError(f"{name!r} is not known", where=where, hint=did_you_mean(name, known))


def check_limit(limit_w: float, part: Part, where: str) -> None:
    """A power limit that the module accepts. Raises ConfigError with the permitted range."""
    low, high = part.power_min_w.value, part.power_max_w.value
    if not low <= limit_w <= high:
        raise ConfigError(
            f"{limit_w:g} W is outside the range of {part.name}",
            where=where,
            hint=f"permitted: {low:g} to {high:g} W",
        )
