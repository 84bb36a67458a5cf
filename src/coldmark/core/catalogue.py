"""Names to things that are imported only when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coldmark.core.errors import ConfigError, SetupError, did_you_mean


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a thing lives, and what it needs that a plain install may lack."""

    target: str  # "package.module:attribute"
    summary: str
    needs: str = ""  # a module that must be importable
    extra: str = ""  # the extra of coldmark that brings it


class Catalogue(Mapping[str, Entry]):
    """A kind of thing by name: `backends["openvino"]`."""

    def __init__(self, kind: str, entries: dict[str, Entry]) -> None:
        self.kind = kind
        self._entries = entries

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: str, *, where: str | None = None) -> Entry:
        """The entry called `name`. Raises ConfigError with the nearest right name."""
        if name not in self._entries:
            raise ConfigError(f"no {self.kind} {name!r}", where=where, hint=did_you_mean(name, self._entries))
        return self._entries[name]

    def load(self, name: str, *, where: str | None = None) -> Any:
        """Import the thing itself. Raises ConfigError, or SetupError with the install command."""
        entry = self.find(name, where=where)
        if entry.needs:
            try:
                importlib.import_module(entry.needs)
            except ImportError as error:
                raise SetupError(
                    f"{self.kind} {name!r} needs the package {entry.needs!r} ({error})",
                    where=where,
                    hint=f"install it: pip install 'coldmark[{entry.extra}]'",
                ) from None
        module, _, attribute = entry.target.partition(":")
        return getattr(importlib.import_module(module), attribute)
