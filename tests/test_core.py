"""Nouns, errors, codec, catalogue."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.core.catalogue import Catalogue, Entry
from coldmark.core.codec import dump_json, from_plain, from_strings, read_json, read_toml, to_plain
from coldmark.core.errors import ConfigError, DataError, SetupError, did_you_mean
from coldmark.core.nouns import DRIVEN, Length, Mode, Scenario, State, Suite
from coldmark.core.record import RunRecord, RunSpec
from coldmark.core.settings import SourcedSettings, TestSettings


@pytest.mark.parametrize("text", ["Offline", "offline", "OFFLINE", "off-line", "off_line"])
def test_a_scenario_is_found_by_any_spelling(text: str) -> None:
    assert Scenario.parse(text) is Scenario.OFFLINE


def test_an_unknown_scenario_names_the_nearest_right_one() -> None:
    with pytest.raises(ConfigError) as caught:
        Scenario.parse("Ofline", where="--scenario")
    assert caught.value.where == "--scenario"
    assert "'Offline'" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_name_near_to_nothing_gets_the_list() -> None:
    assert did_you_mean("zzz", ["null", "openvino"]) == "known: null, openvino"
    assert did_you_mean("zzz", []) == "known: none"


@dataclass(frozen=True, kw_only=True)
class Inner:
    flow_l_per_min: float


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner
    fast: bool = False
    count: int | None = None


def test_an_unknown_key_is_refused_with_its_place_and_the_nearest_right_one() -> None:
    with pytest.raises(ConfigError) as caught:
        from_plain({"name": "x", "inner": {"flow_l_per_mni": 1.0}}, Outer, where="plate.toml")
    text = str(caught.value)
    assert "plate.toml" in text
    assert "inner" in text
    assert "flow_l_per_mni" in text


def test_an_unknown_key_alone_gets_the_nearest_one() -> None:
    data = {"name": "x", "inner": {"flow_l_per_min": 1.0}, "fsat": True}
    with pytest.raises(ConfigError, match="did you mean 'fast'"):
        from_plain(data, Outer, where="plate.toml")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match="name"):
        from_plain({"inner": {"flow_l_per_min": 1.0}}, Outer, where="plate.toml")


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("off", False), ("TRUE", True), ("0", False)])
def test_typed_booleans_are_read_as_words(text: str, value: bool) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Options:
        fast: bool = False

    assert from_strings({"fast": text}, Options, where="--set").fast is value


def test_a_boolean_that_is_none_is_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Options:
        fast: bool = False

    with pytest.raises(ConfigError, match="neither true nor false"):
        from_strings({"fast": "perhaps"}, Options, where="--set")


def test_a_broken_toml_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("a = ")
    with pytest.raises(ConfigError, match=r"x\.toml"):
        read_toml(path, Outer)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_broken_json_is_a_data_error_and_never_a_crash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.json"):
        read_json(path)


def test_json_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(path) == {}


def test_a_number_json_cannot_say_is_an_error() -> None:
    with pytest.raises(ValueError, match="nan"):
        dump_json({"x": float("nan")})


specs = st.builds(
    RunSpec,
    workload=st.sampled_from(["resnet50", "bert-99.9"]),
    scenario=st.sampled_from(DRIVEN),
    suite=st.sampled_from(list(Suite)),
    modes=st.lists(st.sampled_from(list(Mode)), max_size=2).map(tuple),
    length=st.sampled_from(list(Length)),
    target_qps=st.none() | st.floats(0.1, 1e7),
    options=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)


@given(specs, st.sampled_from(list(State)), st.text(max_size=20))
def test_a_record_survives_json(spec: RunSpec, state: State, reason: str) -> None:
    record = RunRecord(run_id="r", state=state, spec=spec, reason=reason)
    assert from_plain(json.loads(dump_json(record)), RunRecord, where="here") == record
    assert to_plain(record)["spec"]["workload"] == spec.workload


def test_settings_keep_the_source_of_each_value() -> None:
    base = SourcedSettings(
        settings=TestSettings(
            scenario=Scenario.OFFLINE,
            mode=Mode.PERFORMANCE,
            min_duration_ms=1,
            min_query_count=1,
            qsl_rng_seed=1,
            sample_index_rng_seed=2,
            schedule_rng_seed=3,
            performance_sample_count=4,
        )
    )
    out = base.override("--set", min_duration_ms=5)
    assert (out.settings.min_duration_ms, out.sources) == (5, {"min_duration_ms": "--set"})
    with pytest.raises(ConfigError, match="did you mean 'min_duration_ms'"):
        base.override("--set", min_duration=5)


def test_a_missing_package_is_a_setup_error_with_the_install_command() -> None:
    things = Catalogue(
        "backend", {"x": Entry("json:dumps", "", needs="no_such_package_", extra="onnxruntime")}
    )
    with pytest.raises(SetupError) as caught:
        things.load("x")
    assert caught.value.exit_code == 4
    assert "pip install 'coldmark[onnxruntime]'" in str(caught.value)


def test_a_catalogue_names_the_nearest_thing() -> None:
    things = Catalogue("backend", {"openvino": Entry("json:dumps", "")})
    assert things.load("openvino") is json.dumps
    with pytest.raises(ConfigError, match="did you mean 'openvino'"):
        things.load("openvno", where="--backend")
