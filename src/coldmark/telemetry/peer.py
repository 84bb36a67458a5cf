"""A bounded HTTP client for a BMC or an exporter: one host, small answers, certificates checked.

The standard library's, because a peer is hostile until shown otherwise: no redirect is followed, no more
than MAX_BYTES are read, every wait has an end (docs/decisions/0005-telemetry.md).
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import socket
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from coldmark.core.errors import ConfigError, TelemetryError
from coldmark.telemetry.bmc import HINT, Credentials

MAX_BYTES = 4 * 1024 * 1024
WHOLE_FACTOR = 3.0
"""An answer that trickles in may take so many timeouts, then it is given up."""


class Peer:
    """One server. Raises ConfigError for an address that cannot be meant."""

    def __init__(
        self,
        url: str,
        *,
        where: str,
        who: Credentials | None = None,
        verify: bool = True,
        ca: str = "",
        timeout_s: float = 5.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.username or parts.password:
            # The address is not repeated: it holds a secret.
            raise ConfigError("an address must not hold a user or a password", where=where, hint=HINT)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{url!r} is no http or https address", where=where, hint="https://bmc.example")
        try:
            self._port = parts.port
        except ValueError:
            raise ConfigError(f"{url!r} has no port that can be meant", where=where) from None
        if who and parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ConfigError("a password is not sent without TLS", where=where, hint="use https://")
        self.url, self.where, self.path = f"{parts.scheme}://{parts.netloc}", where, parts.path or "/"
        self._host, self._timeout = parts.hostname, timeout_s
        self._tls = _context(verify, ca, where) if parts.scheme == "https" else None
        self._headers = {"Accept": "application/json, text/plain", "User-Agent": "coldmark"}
        if who:
            pair = base64.b64encode(f"{who.user}:{who.password}".encode()).decode("ascii")
            self._headers["Authorization"] = f"Basic {pair}"
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> bytes | None:
        """A resource's bytes; None where the peer has none (404). Raises TelemetryError."""
        fresh = self._connection is None
        try:
            return self._get(path)
        except (http.client.HTTPException, ConnectionError) as error:
            self.close()
            if fresh or isinstance(error, TimeoutError):
                raise self._failed(error) from None
        except (OSError, ssl.SSLError) as error:
            self.close()
            raise self._failed(error) from None
        try:  # a connection that was kept may have been closed by the peer: once more
            return self._get(path)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._failed(error) from None

    def get_json(self, path: str) -> dict[str, Any] | None:
        """A resource as a JSON object; None where there is none. Raises TelemetryError."""
        data = self.get(path)
        if data is None:
            return None
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            raise TelemetryError(
                "the answer is not JSON", where=self.url + path[:200], hint="is it a Redfish service?"
            ) from None
        if not isinstance(found, dict):
            raise TelemetryError("the answer is no JSON object", where=self.url + path[:200])
        return found

    def _get(self, path: str) -> bytes | None:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        data = self._body(answer)
        if answer.status in (401, 403):
            raise TelemetryError(
                f"the peer refuses these credentials ({answer.status})", where=self.url, hint=HINT
            )
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise TelemetryError(f"the peer answers {answer.status}", where=self.url + path[:200])
        return data

    def _body(self, answer: http.client.HTTPResponse) -> bytes:
        end, parts, size = time.monotonic() + WHOLE_FACTOR * self._timeout, [], 0
        while part := answer.read1(65536):
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES:
                self.close()
                raise TelemetryError(f"an answer of more than {MAX_BYTES >> 20} MiB", where=self.url)
            if time.monotonic() > end:
                self.close()
                raise TelemetryError("an answer that never ends", where=self.url)
        answer.close()  # it is read to its end, so that the connection may be used again
        return b"".join(parts)

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)

    def _failed(self, error: Exception) -> TelemetryError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return TelemetryError(
                f"its certificate does not hold: {error.verify_message}",
                where=self.url,
                hint="name the CA that signed it (ca=FILE); verify=false turns the check off and is recorded",
            )
        if isinstance(error, socket.gaierror):
            return TelemetryError("no host of this name", where=self.url, hint="check the address")
        if isinstance(error, TimeoutError):
            return TelemetryError(f"no answer within {self._timeout:g} s", where=self.url)
        return TelemetryError(f"cannot be reached: {error}", where=self.url, hint="check address and port")

    def close(self) -> None:
        """Let the connection go; the next request makes another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _context(verify: bool, ca: str, where: str) -> ssl.SSLContext:
    if not verify:
        return ssl._create_unverified_context()  # noqa: S323 - asked for by name, and recorded
    try:
        return ssl.create_default_context(cafile=str(Path(ca)) if ca else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"no CA certificates in {ca!r}: {error}", where=where) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
