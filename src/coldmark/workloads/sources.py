"""What every workload's three model sources have in common: how each is found, and what is said where not."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from coldmark.core.errors import ConfigError, DataError, did_you_mean

SOURCES = ("mini", "full", "official")

SEEDED = "the weights of `full` are seeded random numbers: its answers mean nothing"
"""Why accuracy of `full` is refused."""


def own_model(source: str, *, suffix: str = ".onnx", what: str = "a path to an ONNX file") -> Path:
    """A model source that is none of the three as a path of the user's.

    Raises ConfigError for what neither exists nor ends in `suffix`: that is a misspelt source.
    """
    path = Path(source)
    if not (suffix and path.suffix == suffix) and not path.exists():
        raise ConfigError(
            f"no model source {source!r}",
            where="--model",
            hint=f"{did_you_mean(source, SOURCES)}, or {what}",
        )
    return path


def needed(key: str, value: Path | None, what: str) -> Path:
    """A path without which files of the user's cannot be opened. Raises ConfigError where not given."""
    if value is None:
        raise ConfigError(f"this needs {key}, {what}", where="--set", hint=f"add --set {key}=/path/to/it")
    return value


def shipped(package: str, name: str) -> Path:
    """A file that comes with a workload's package."""
    return Path(str(resources.files(package) / name))


def check_shipped(path: Path, found: str, expected: str) -> None:
    """Raises DataError where a shipped model's digest is not the one that its `mini.toml` says."""
    if found != expected:
        raise DataError(
            "the shipped model is not the one that mini.toml describes",
            where=str(path),
            hint="reinstall coldmark",
        )
