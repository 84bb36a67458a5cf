"""Who we are to a BMC: from the environment, or from a file that nobody else may read."""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from coldmark.core.errors import ConfigError

USER, PASSWORD, FILE = "COLDMARK_BMC_USER", "COLDMARK_BMC_PASSWORD", "COLDMARK_BMC_FILE"
HINT = f"set {USER} and {PASSWORD}, or name a file of mode 600 in {FILE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user and a password that no repr shows."""

    user: str
    password: str = field(repr=False)


def credentials() -> Credentials | None:
    """What the user gave; None where nothing was given. Raises ConfigError."""
    if path := os.environ.get(FILE):
        return _from_file(Path(path))
    user, password = os.environ.get(USER), os.environ.get(PASSWORD)
    if user is None and password is None:
        return None
    if user is None or password is None:
        raise ConfigError("a user and a password belong together", where=USER, hint=HINT)
    return Credentials(user=user, password=password)


def _from_file(path: Path) -> Credentials:
    """`user` and `password` from a TOML file. What the file says is never part of an error."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno())
            if not stat.S_ISREG(mode.st_mode) or mode.st_uid not in (os.getuid(), 0):
                raise ConfigError("not a file of this user", where=str(path), hint=HINT)
            if mode.st_mode & 0o077:
                raise ConfigError(
                    f"others may read it (mode {stat.S_IMODE(mode.st_mode):03o})",
                    where=str(path),
                    hint=f"chmod 600 {path}",
                )
            data = tomllib.loads(file.read(65536).decode("utf-8"))
    except OSError as error:
        raise ConfigError(error.strerror or str(error), where=str(path), hint=HINT) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise ConfigError(
            "not TOML", where=str(path), hint='two lines: user = "..." and password = "..."'
        ) from None
    user, password = data.get("user"), data.get("password")
    if set(data) != {"user", "password"} or not isinstance(user, str) or not isinstance(password, str):
        raise ConfigError("needs exactly the texts user and password", where=str(path))
    return Credentials(user=user, password=password)
