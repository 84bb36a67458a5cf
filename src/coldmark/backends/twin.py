"""The backend that is simulated:

its runs go through virtual time (`runs/twin/record.py`), never through LoadGen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from coldmark.backends.build import Backend, BuildRequest, without_int8
from coldmark.core.errors import BackendError


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinOptions:
    """What of the server may be chosen: `--set backend.KEY=VALUE`."""

    server: str = "x660-g45-lp"
    cooling: str = ""  # empty: as built
    supply_degc: float | None = None
    flow_l_per_min: float | None = None
    power_limit_w: float | None = None
    inlet_degc: float | None = None
    fan_share: float | None = None
    facility_degc: float | None = None
    facility_l_per_min: float | None = None


def _build(request: BuildRequest) -> NoReturn:
    raise BackendError(
        "the twin answers in virtual time only; nothing can be measured with it",
        where="--backend twin",
        hint="coldmark run WORKLOAD --backend twin goes the right way",
    )


def _versions() -> Mapping[str, str]:
    return {}


BACKEND = Backend(
    name="twin",
    options=TwinOptions,
    build=_build,
    versions=_versions,
    needs_model=False,
    require=without_int8("twin"),
)
