"""Logs as values, whatever is in them; the round's own sample sequence."""

from __future__ import annotations

import json
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldmark.core.errors import DataError
from coldmark.core.runlog import RunLog
from coldmark.loadgen.log import loaded_set, parse_accuracy, parse_detail, parse_summary, window_s
from coldmark.loadgen.sequence import StandardLibrary, performance_set, recognise

V21_QSL_SEED = 14284205019438841327


def entry(key: str, value: object, **meta: bool) -> str:
    flags = {"is_error": False, "is_warning": False, **meta}
    return ":::MLLOG " + json.dumps({"key": key, "value": value, "metadata": flags}) + "\n"


def test_values_errors_and_warnings_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_log_detail.txt"
    path.write_text(
        entry("result_validity", "VALID")
        + entry("error_runtime", "ran out", is_error=True)
        + entry("warning_generic_message", "CAS failed.", is_warning=True)
    )
    log = parse_detail(path)
    assert log.valid
    assert log.finished
    assert [(line.line, line.key) for line in log.errors] == [(2, "error_runtime")]
    assert len(log.warnings) == 1


@pytest.mark.parametrize(
    "line",
    [
        "plain text\n",
        ":::MLLOG {\n",
        ":::MLLOG []\n",
        ":::MLLOG 3\n",
        ':::MLLOG {"key": 1}\n',
        ":::MLLOG " + "[" * 60_000 + "\n",
        "\x00\x00\n",
    ],
)
def test_a_line_that_is_no_entry_is_an_error_line_not_a_crash(tmp_path: Path, line: str) -> None:
    path = tmp_path / "mlperf_log_detail.txt"
    path.write_text(entry("a", 1) + line)
    log = parse_detail(path)
    assert log.get("a") == 1
    assert [e.key for e in log.errors] == ["unreadable"]


def test_the_window_between_the_marks_by_hand() -> None:
    marks = {"power_begin": "08-03-2022 23:59:58.500", "power_end": "08-04-2022 00:00:08.750"}
    assert window_s(RunLog(path="x", values=marks)) == 10.25
    for broken in ({}, {"power_begin": marks["power_begin"]}, {**marks, "power_end": "soon"}):
        assert window_s(RunLog(path="x", values=broken)) is None
    backwards = {"power_begin": marks["power_end"], "power_end": marks["power_begin"]}
    assert window_s(RunLog(path="x", values=backwards)) is None


def test_a_missing_detail_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mlperf_log_detail"):
        parse_detail(tmp_path / "mlperf_log_detail.txt")


@settings(max_examples=60)
@given(st.binary(max_size=400))
def test_no_bytes_crash_the_parsers(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("logs")
    (folder / "mlperf_log_detail.txt").write_bytes(data)
    (folder / "mlperf_log_summary.txt").write_bytes(data)
    (folder / "mlperf_log_accuracy.json").write_bytes(data)
    parse_detail(folder / "mlperf_log_detail.txt")
    parse_summary(folder / "mlperf_log_summary.txt")
    with suppress(DataError):
        assert not parse_accuracy(folder / "mlperf_log_accuracy.json").answers


GOOD = """[
{ "seq_id" : 0, "qsl_idx" : 7, "data" : "0000803F" },
{ "seq_id" : 1, "qsl_idx" : 3, "data" : "" }
]
"""


def test_an_accuracy_log_gives_indices_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "mlperf_log_accuracy.json"
    path.write_text(GOOD)
    log = parse_accuracy(path)
    assert log.indices.tolist() == [7, 3]
    assert log.answers == [b"\x00\x00\x80\x3f", b""]


def test_a_large_accuracy_log_is_read_one_answer_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coldmark.loadgen.log.HELD_BYTES", 10)
    path = tmp_path / "mlperf_log_accuracy.json"
    path.write_text(GOOD)
    answers = parse_accuracy(path).answers
    assert not isinstance(answers, list)
    assert len(answers) == 2
    assert list(answers) == [b"\x00\x00\x80\x3f", b""]
    assert list(answers[:1]) == [b"\x00\x00\x80\x3f"]
    path.write_text("x" * 80)
    with pytest.raises(DataError, match="changed while it was read"):
        list(answers)


@pytest.mark.parametrize(
    "bad", [GOOD.replace("]", ""), GOOD.replace("qsl_idx", "idx"), GOOD.replace("803F", "803")]
)
def test_an_accuracy_log_that_breaks_off_or_is_damaged_is_refused(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "mlperf_log_accuracy.json"
    path.write_text(bad)
    with pytest.raises(DataError, match="mlperf_log_accuracy"):
        parse_accuracy(path)


# The first samples of the v2.1 performance set among 50 000, as the closed v2.1 ResNet-50 logs of Nettrix
# hold them (mlcommons/inference_results_v2.1, loaded_qsl_set), and as the pinned wheel draws them.
PUBLISHED = [26549, 24440, 5815, 16074, 41590, 8929, 24798, 38390]
WHEEL = [36653, 24414, 16068, 17261, 41574, 38398]


def test_the_two_forms_of_the_rounds_sequence() -> None:
    old = performance_set(V21_QSL_SEED, 50_000, 2048, StandardLibrary.DIVISION)
    new = performance_set(V21_QSL_SEED, 50_000, 2048, StandardLibrary.LEMIRE)
    assert old[:8] == PUBLISHED
    assert new[:6] == WHEEL
    assert recognise(V21_QSL_SEED, 50_000, old) is StandardLibrary.DIVISION
    assert recognise(V21_QSL_SEED, 50_000, new) is StandardLibrary.LEMIRE
    assert recognise(V21_QSL_SEED, 50_000, list(range(2048))) is None


@given(st.integers(0, 2**64 - 1), st.integers(1, 400), st.sampled_from(list(StandardLibrary)))
def test_a_performance_set_is_a_part_of_a_permutation(
    seed: int, total: int, library: StandardLibrary
) -> None:
    whole = performance_set(seed, total, total, library)
    assert sorted(whole) == list(range(total))
    assert performance_set(seed, total, 1, library) == whole[:1]


@pytest.mark.parametrize(("total", "count"), [(0, 0), (10, 11), (70_000, 5)])
def test_a_set_outside_the_domain_is_refused(total: int, count: int) -> None:
    with pytest.raises(ValueError, match="count"):
        performance_set(1, total, count, StandardLibrary.LEMIRE)


def test_published_logs_hold_the_sequence_that_is_computed_here(shared: Path, tmp_path: Path) -> None:
    archive = shared / "published" / "mlperf-inference-v2.1-closed-nettrix.tar.xz"
    wanted = (
        "results/A100_SXM4_80GBX1_CUSTOM_TRT/resnet50/SingleStream/performance/run_1/mlperf_log_detail.txt"
    )
    with tarfile.open(archive) as tar:
        member = next(m for m in tar if m.name.endswith(wanted))
        file = tar.extractfile(member)
        assert file is not None
        (tmp_path / "mlperf_log_detail.txt").write_bytes(file.read())
    log = parse_detail(tmp_path / "mlperf_log_detail.txt")
    assert not log.errors
    assert recognise(V21_QSL_SEED, 50_000, loaded_set(log)) is StandardLibrary.DIVISION
