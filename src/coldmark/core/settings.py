"""The settings of one LoadGen test, each value with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.core.nouns import Mode, Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSettings:
    """What LoadGen is told. Field names are LoadGen's own, without the scenario prefix.

    A value that does not concern the scenario is left at None and not set at all.
    """

    __test__ = False  # the name is the field's; pytest is not to collect it

    scenario: Scenario
    mode: Mode
    min_duration_ms: int
    min_query_count: int  # Offline: samples, as LoadGen counts them there
    qsl_rng_seed: int
    sample_index_rng_seed: int
    schedule_rng_seed: int
    performance_sample_count: int
    max_duration_ms: int = 0  # 0: no limit
    max_query_count: int = 0  # 0: no limit
    target_latency_percentile: float | None = None  # share in (0, 1)
    target_latency_ns: int | None = None  # Server: the bound
    target_qps: float | None = None  # Server: arrival rate; Offline: expected rate
    expected_latency_ns: int | None = None  # SingleStream, MultiStream: sizes the query list
    samples_per_query: int | None = None  # MultiStream
    sample_concatenate_permutation: bool = False
    performance_issue_unique: bool = False
    performance_issue_same: bool = False
    performance_issue_same_index: int = 0
    accuracy_log_rng_seed: int = 0
    accuracy_log_probability: float = 0.0
    accuracy_log_sampling_target: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcedSettings:
    """Test settings and, for each field that was decided, by whom."""

    settings: TestSettings
    sources: dict[str, str] = field(default_factory=dict)

    def override(self, source: str, **values: Any) -> SourcedSettings:
        """The same settings with some fields set, and their source noted.

        Raises ConfigError on a field that is none.
        """
        known = {f.name for f in fields(TestSettings)}
        for name in values:
            if name not in known:
                raise ConfigError(f"no test setting {name!r}", where=source, hint=did_you_mean(name, known))
        return SourcedSettings(
            settings=replace(self.settings, **values),
            sources=self.sources | dict.fromkeys(values, source),
        )
