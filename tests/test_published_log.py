"""LoadGen's logs of every round through one parser whose wordings are data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.core.errors import ConfigError
from coldmark.loadgen.dialects import load_dialects
from coldmark.loadgen.published_log import (
    ParsedLog,
    parse_accuracy_text,
    parse_detail,
    parse_summary,
    result_of,
)
from published_tree import multi_stream, server, single_stream, summary

DIALECTS = load_dialects()


def result(text: str, round_: str, scenario: str) -> tuple[float, str, str] | None:
    """What a round calls the result of a log in a scenario's folder."""
    log = parse_summary(text.encode(), DIALECTS)
    logged = DIALECTS.scenario(log.word("effective_scenario"))
    found = result_of(log, DIALECTS.headlines_of(round_, scenario, logged))
    return None if found is None else (found[1], found[0].unit, found[0].metric)


OLD_SINGLE = summary("Single Stream", headline="90th percentile latency (ns) : 1500000")
OLD_MULTI = summary(
    "Multi Stream",
    headline="Samples per query : 2692",
    stats='Intervals between each IssueQuery:  "qps" : 20, "ms" : 50\n50.00 percentile : 1\n\n'
    'Per-query latency:  "target_ns" : 50000000, "target_ms" : 50\n'
    "99.00 percentile latency (ns)   : 49747375\n\nPer-sample latency:\n"
    "Max latency (ns)                : 77592222",
)
TOKENS = summary(headline="Samples per second: 10.6774\nTokens per second: 3114.03")
INFERRED = summary(headline="Samples per second: 288.256\nTokens per second (inferred): 19889.7")
TOKEN_SERVER = summary(
    "Server",
    headline="Completed tokens per second: 15308.25\nCompleted samples per second    : 52.00",
)
NEW_SERVER = summary(
    "Server", headline="Scheduled samples per second : 16.66\nCompleted samples per second    : 16.20"
)
POINTS = summary(
    "SingleStream",
    headline="99.9th percentile latency (ns) : 495947315",
    extra="Early Stopping Result:\n * Early stopping 99.9th percentile estimate: 564018264\n"
    " * Early stopping 99.0th percentile estimate: 459998183",
)
FIRST_TOKENS = summary(
    "SingleStream",
    headline="90.0th percentile latency (ns) : 4145546277\n"
    "90.0th first token percentile latency (ns) : 1396970160",
    extra="TTFT Early Stopping Result:\n * Early stopping 90.0th percentile estimate: 1397965104\n"
    "TPOT Early Stopping Result:\n * Early stopping 90.0th percentile estimate: 21655390",
    stats="Mean First Token latency (ns)                : 85652563",
)


@pytest.mark.parametrize(
    ("round_", "scenario", "text", "expected"),
    [
        ("v0.5", "SingleStream", OLD_SINGLE, (1.5, "ms", "latency_p90")),
        ("v1.1", "SingleStream", OLD_SINGLE, (1.5, "ms", "latency_p90")),
        ("v0.5", "MultiStream", OLD_MULTI, (2692, "samples/query", "streams")),
        ("v0.7", "Server", server(), (500, "queries/s", "scheduled_rate")),
        ("v2.1", "Server", server(), (500, "queries/s", "scheduled_rate")),
        ("v2.1", "Offline", summary(), (1000, "samples/s", "rate")),
        ("v2.1", "SingleStream", single_stream(), (2.0, "ms", "latency_p90")),
        ("v5.0", "SingleStream", single_stream(ordinal=".0"), (2.0, "ms", "latency_p90")),
        ("v2.0", "MultiStream", multi_stream(), (9.0, "ms", "latency_p99")),
        ("v3.1", "Offline", TOKENS, (10.6774, "samples/s", "rate")),
        ("v4.0", "Offline", TOKENS, (3114.03, "tokens/s", "token_rate")),
        ("v4.1", "Offline", INFERRED, (19889.7, "tokens/s", "token_rate")),
        ("v5.1", "Server", TOKEN_SERVER, (15308.25, "tokens/s", "token_rate")),
        ("v4.0", "Server", NEW_SERVER, (16.66, "queries/s", "scheduled_rate")),
        ("v5.1", "Server", NEW_SERVER, (16.20, "queries/s", "completed_rate")),
        ("v5.1", "Interactive", TOKEN_SERVER, (15308.25, "tokens/s", "token_rate")),
        ("v5.1", "SingleStream", POINTS, (564.018264, "ms", "latency_p999")),
        ("v6.0", "SingleStream", FIRST_TOKENS, (4145.546277, "ms", "latency_p90")),
        # Inferred: the folder is not the log's scenario.
        ("v2.1", "Offline", single_stream(), (500.10, "samples/s", "rate")),
        ("v2.1", "MultiStream", single_stream(), (24.0, "ms", "latency_p99")),
        ("v2.1", "Offline", multi_stream(), (1000.0, "samples/s", "rate")),
        ("v2.1", "Server", single_stream(), None),
    ],
)
def test_each_round_has_its_own_result(
    round_: str, scenario: str, text: str, expected: tuple[float, str, str] | None
) -> None:
    found = result(text, round_, scenario)
    if expected is None:
        assert found is None
    else:
        assert found == (pytest.approx(expected[0]), *expected[1:])


@pytest.mark.parametrize(
    ("folder", "scenario"),
    [("server", "Server"), ("SingleStream", "SingleStream"), ("Single Stream", "SingleStream"),
     ("multistream", "MultiStream"), ("interactive", "Interactive"), ("TEST01", "")],
)  # fmt: skip
def test_a_scenario_is_found_in_any_spelling(folder: str, scenario: str) -> None:
    assert DIALECTS.scenario(folder) == scenario


def test_an_interactive_folder_holds_a_server_log_by_design() -> None:
    assert not DIALECTS.is_inferred("Interactive", "Server")
    assert DIALECTS.is_inferred("Offline", "SingleStream")


def test_an_unknown_round_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"v2\.2.*\n.*did you mean 'v2\.[01]'"):
        DIALECTS.require_round("v2.2")


@pytest.mark.parametrize(
    "data",
    [
        summary().replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + summary().encode(),
        summary().encode("utf-8") + "Zeile mit Umlaut: \xfc\n".encode("latin-1"),
    ],
    ids=["CRLF", "BOM", "not UTF-8"],
)
def test_other_line_ends_and_encodings_read_the_same(data: bytes) -> None:
    log = parse_summary(data, DIALECTS)
    plain = parse_summary(summary().encode(), DIALECTS)
    assert log.values == plain.values
    assert [p.key for p in log.problems] == (["encoding"] if b"\xfc" in data else [])


def test_a_value_that_is_no_number_is_a_problem_with_its_line() -> None:
    text = summary(headline="Samples per second: fast")
    problem = parse_summary(text.encode(), DIALECTS).problems[0]
    assert problem.key == "result_samples_per_second"
    assert "fast" in problem.text
    assert text.splitlines()[problem.line - 1] == "Samples per second: fast"


@pytest.mark.parametrize("word", ["inf", "nan", "1_000", "٣", "1e999", ""])
def test_what_python_takes_for_a_number_and_loadgen_never_prints_is_none(word: str) -> None:
    log = parse_summary(summary(headline=f"Samples per second: {word}").encode(), DIALECTS)
    assert log.number("result_samples_per_second") is None
    assert len(log.problems) == 1


def test_the_first_line_of_a_kind_counts() -> None:
    text = summary() + "Samples per second: 7\n"
    assert parse_summary(text.encode(), DIALECTS).number("result_samples_per_second") == 1000


def test_token_models_are_not_ranked_by_their_first_token() -> None:
    log = parse_summary(FIRST_TOKENS.encode(), DIALECTS)
    log.values["early_stopping_latency_ss"] = 1397965104  # as the detail log has it, of the first token
    found = result_of(log, DIALECTS.headlines_of("v5.1", "SingleStream", "SingleStream"))
    assert found is not None
    assert found[1] == pytest.approx(4145.546277)
    plain = parse_summary(single_stream(ordinal=".0").encode(), DIALECTS)
    found = result_of(plain, DIALECTS.headlines_of("v5.1", "SingleStream", "SingleStream"))
    assert found is not None
    assert found[1] == 2.0


def test_the_per_query_block_is_kept_apart_from_the_samples() -> None:
    log = parse_summary(multi_stream().encode(), DIALECTS)
    assert log.number("result_99.00_percentile_per_query_latency_ns") == 8_999_900
    assert log.number("result_99.00_percentile_latency_ns") is None


ENTRY = ':::MLLOG {"key": "%s", "value": %s, "time_ms": 1.0, "metadata": {"is_error": false}}\n'


def test_a_detail_log_since_v1_0_is_read_by_its_keys() -> None:
    text = ENTRY % ("result_samples_per_second", "1000.5") + ENTRY % (
        "power_begin",
        '"08-03-2022 17:51:56.171"',
    )
    log = parse_detail(text.encode(), DIALECTS)
    assert log.number("result_samples_per_second") == 1000.5
    assert log.word("power_begin") == "08-03-2022 17:51:56.171"
    assert log.lines["power_begin"] == 2


def test_lines_after_the_cut_of_a_long_log_are_counted_from_its_end() -> None:
    first, last = ENTRY % ("effective_target_qps", "7"), ENTRY % ("result_samples_per_second", "5")
    broken = ':::MLLOG {"key": "result_query_count", broken\n'
    log = parse_detail((first + "\0\n" + last + broken + "\n").encode(), DIALECTS)
    assert log.lines == {"effective_target_qps": 1, "result_samples_per_second": -3}
    assert [problem.line for problem in log.problems] == [-2]


def test_a_detail_log_before_v1_0_is_read_by_its_labels() -> None:
    text = (
        '"pid": 4303, "tid": 4303, "ts": 26267ns : Scenario : Server\n'
        '"pid": 4303, "tid": 4303, "ts": 26267ns : target_qps : 45120\n'
        '"pid": 1, "tid": 1, "ts": 9ns : POWER_BEGIN: "mode" : Performance, '
        '"time" : 10-09-2019 07:20:32.109\n'
        '"pid": 1, "tid": 1, "ts": 9ns : POWER_END: "mode" : Performance, "time" : 10-09-2019 07:21:32.111\n'
    )
    log = parse_detail(text.encode(), DIALECTS)
    assert log.word("effective_scenario") == "Server"
    assert log.number("effective_target_qps") == 45120
    assert log.values["power_end"] == "10-09-2019 07:21:32.111"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("accuracy=76.072%, good=38036, total=50000\nhash=ab", ("acc", 76.072)),
        ("noise\nmAP=37.467%\n", ("mAP", 37.467)),
        ("Word Error Rate: 7.44%, accuracy=92.55%", ("WER", 92.55)),
        ('{"exact_match": 83.6, "f1": 90.8759}\nReading', ("F1", 90.8759)),
        ("AUC=80.185%, accuracy=96.608%, good=1", ("AUC", 80.185)),
        ("Accuracy: mean = 0.86244, kidney = 0.9350", ("DICE", 0.86244)),
        ("BLEU: 23.9", ("BLEU", 23.9)),
        ("{'rouge1': '44.4542', 'rouge2': '22.0419'}", ("ROUGE1", 44.4542)),
        ("{'exact_match': 81.36, 'tokens_per_sample': 3886}", ("exact_match", 81.36)),
        ("'CLIP_SCORE': '31.7',", ("CLIP", 31.7)),
        ("nothing here", None),
        ("", None),
    ],
)
def test_accuracy_texts_of_all_rounds(text: str, expected: tuple[str, float] | None) -> None:
    assert parse_accuracy_text(text.encode(), DIALECTS) == expected


def check_sane(log: ParsedLog) -> None:
    for value in log.values.values():
        assert isinstance(value, str | int | float)
        assert isinstance(value, str) or value - value == 0
    assert all(problem.line != 0 for problem in log.problems)


@given(st.binary(max_size=600))
def test_no_bytes_at_all_make_a_parser_crash(data: bytes) -> None:
    for parse in (parse_summary, parse_detail):
        check_sane(parse(data, DIALECTS))
        check_sane(parse(b':::MLLOG {"key": "result_validity", ' + data, DIALECTS))
    parse_accuracy_text(data, DIALECTS)


@given(
    st.sampled_from([summary(), server(), single_stream(), multi_stream(), OLD_MULTI, FIRST_TOKENS]),
    st.integers(0, 1500),
    st.binary(max_size=30),
    st.integers(0, 200),
)
def test_a_mutated_log_is_read_or_reported(text: str, at: int, put: bytes, cut: int) -> None:
    data = text.encode()
    check_sane(parse_summary(data[:at] + put + data[at + cut :], DIALECTS))
