"""TOML and JSON to nouns and back, strictly: an unknown key is refused by name."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import cattrs
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError

from coldmark.core.errors import ConfigError, DataError, did_you_mean

T = TypeVar("T")

MAX_TEXT_BYTES = 16 * 1024 * 1024
"""No configuration or record of ours is larger; a larger file is not read."""


@cache
def converter() -> cattrs.Converter:
    """The one converter: plain data in, frozen dataclasses out."""
    return cattrs.Converter(forbid_extra_keys=True)


def to_plain(noun: Any) -> Any:
    """A noun as dicts, lists, strings and numbers."""
    return converter().unstructure(noun)


def from_plain(data: Any, kind: type[T], *, where: str) -> T:
    """Plain data as a noun. Raises ConfigError with the place, the key and the nearest right one."""
    try:
        return converter().structure(data, kind)
    except BaseValidationError as error:
        raise _explain(error, where) from None
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"not a {kind.__name__}: {error}", where=where) from None


_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


def from_strings(data: Mapping[str, str], kind: type[T], *, where: str) -> T:
    """Options typed by a user (`KEY=VALUE`) as a noun: numbers, booleans and paths are read as such."""
    typed: dict[str, Any] = dict(data)
    for field in fields(kind):  # type: ignore[arg-type]
        text = typed.get(field.name)
        if field.type in (bool, "bool") and isinstance(text, str):
            if text.lower() not in _TRUE | _FALSE:
                raise ConfigError(f"{text!r} is neither true nor false", where=f"{where} {field.name}")
            typed[field.name] = text.lower() in _TRUE
    return from_plain(typed, kind, where=where)


def _explain(error: BaseValidationError, where: str) -> ConfigError:
    # A misspelt key shows up twice, as unknown and as missing; the unknown one is what was typed.
    leaves = sorted(_leaves(error), key=lambda pair: not isinstance(pair[0], ForbiddenExtraKeysError))
    for leaf, path in leaves:
        place = f"{where}: {path}" if path else where
        if isinstance(leaf, ForbiddenExtraKeysError):
            key = sorted(leaf.extra_fields)[0]
            known = getattr(leaf.cl, "__dataclass_fields__", {})
            return ConfigError(f"unknown key {key!r}", where=place, hint=did_you_mean(key, known))
        if isinstance(leaf, KeyError):
            return ConfigError(f"missing key {leaf.args[0]!r}", where=place)
        return ConfigError(str(leaf), where=place)
    return ConfigError(str(error), where=where)


def _leaves(error: BaseException, path: str = "") -> list[tuple[BaseException, str]]:
    """The underlying errors of a cattrs error tree, with the dotted path to each."""
    notes = [getattr(n, "name", getattr(n, "index", None)) for n in getattr(error, "__notes__", [])]
    here = ".".join([path, *(str(n) for n in notes if n is not None)]).strip(".")
    if isinstance(error, BaseExceptionGroup):
        return [leaf for e in error.exceptions for leaf in _leaves(e, here)]
    return [(error, here)]


def read_bounded(path: Path) -> bytes:
    """The bytes of a small text file. Raises DataError when absent, unreadable or too large."""
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise DataError(f"larger than {MAX_TEXT_BYTES >> 20} MiB, not read", where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise DataError(error.strerror or str(error), where=str(path)) from None


def read_toml(path: Path, kind: type[T]) -> T:
    """A TOML file as a noun. Raises DataError or ConfigError with the file and the key."""
    try:
        data = tomllib.loads(read_bounded(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not TOML: {error}", where=str(path)) from None
    return from_plain(data, kind, where=str(path))


def read_json(path: Path) -> Any:
    """A JSON file as plain data. Raises DataError with the file and the place."""
    try:
        return json.loads(read_bounded(path).decode("utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"not JSON: {error}", where=str(path)) from None


def dump_json(data: Any) -> str:
    """Plain data or nouns as readable JSON; a number that JSON cannot say is an error."""
    return json.dumps(to_plain(data), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
