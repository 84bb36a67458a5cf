"""Pool expressions: parsed, never evaluated, and SQL sees only parameters."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.core.errors import ConfigError
from coldmark.core.published import COLUMNS
from coldmark.store.pool import parse_pool
from coldmark.store.results import _SQL_TYPES, ask, open_results, shipped


@pytest.fixture(scope="module")
def results() -> Iterator[duckdb.DuckDBPyConnection]:
    with open_results([shipped()["v2.1"]]) as connection:
        yield connection


def size(connection: duckdb.DuckDBPyConnection, text: str) -> int:
    """How many closed runs a pool has."""
    pool = parse_pool(text)
    sql = f"SELECT count(*) FROM results WHERE division = 'closed' AND ({pool.sql})"
    return int(ask(connection, sql, pool.parameters).rows[0][0])


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "true"),
        ('accelerator ~ "A100-SXM"', "accelerator ILIKE '%A100-SXM%'"),
        ("accelerator ~ a100-sxm", "accelerator ILIKE '%A100-SXM%'"),
        ("accelerators = 8", "accelerators = 8"),
        ("count == 8", "accelerators = 8"),
        ("accelerators >= 2 and accelerators<=4", "accelerators BETWEEN 2 AND 4"),
        ("accelerators = 8 or nodes > 1", "accelerators = 8 OR nodes > 1"),
        ("nodes = 1 or nodes = 2 and accelerators = 8", "nodes = 1 OR (nodes = 2 AND accelerators = 8)"),
        ("(nodes = 1 or nodes = 2) and accelerators = 8", "nodes IN (1, 2) AND accelerators = 8"),
        ("status in (preview, rdi)", "status IN ('preview', 'rdi')"),
        ("status not in (available)", "status <> 'available'"),
        ("accelerators in (1, 8)", "accelerators IN (1, 8)"),
        ("not power_submission", "NOT power_submission"),
        ("metered", "power_submission"),
        ("power_submission = yes", "power_submission"),
        ("inferred = true", "inferred"),
        ("submitter != Nettrix", "submitter <> 'Nettrix'"),
        ("SUBMITTER = nettrix", "submitter = 'Nettrix'"),
        ("cpu ~ EPYC AND NOT gpu ~ A100", "processor ILIKE '%EPYC%' AND accelerator NOT ILIKE '%A100%'"),
        ("accelerator !~ 'A100'", "accelerator NOT ILIKE '%A100%'"),
        ("cores > 100", "coalesce(cores > 100, false)"),
        ("not cores > 100", "NOT coalesce(cores > 100, false)"),
        ("score >= 1e5", "score >= 100000"),
    ],
)
def test_an_expression_selects_what_it_says(
    results: duckdb.DuckDBPyConnection, text: str, where: str
) -> None:
    sql = f"SELECT count(*) FROM results WHERE division = 'closed' AND ({where})"
    assert size(results, text) == ask(results, sql).rows[0][0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("acelerator = 8", "did you mean 'accelerator'"),
        ("accelerators", "expected a comparison"),
        ("accelerators =", "expected a value, found 'the end'"),
        ("accelerators = eight", "'eight' is no number"),
        ("accelerators = nan", "is no number"),
        ("accelerators ~ 8", "is no text"),
        ("accelerator > A100", "has no order"),
        ("accelerators = 8 nodes = 1", "expected 'and', 'or' or the end, found 'nodes'"),
        ("(nodes = 1", "expected ')'"),
        ("nodes = 1)", "found ')'"),
        ("nodes in 1", "expected '('"),
        ("nodes in (1; 2)", "is no number"),
        ("status in (a b)", "expected ',' or ')'"),
        ("and nodes = 1", "expected a field"),
        ("not", "expected a field, found 'the end'"),
        ("inferred = perhaps", "neither true nor false"),
        ('submitter = "unclosed', "cannot read"),
        ("1 = 1", "no field '1'"),
        ("score; DROP TABLE results", "no field 'score;'"),
        ("submitter = x'; DROP TABLE results; --", "cannot read"),
        ("__import__('os').system('x')", "no field"),
        ("(" * 500 + "nodes = 1", "nested too deeply"),
        ("not " * 450 + "metered", "nested too deeply"),
        ("nodes = 1 and " * 500 + "metered", "longer than"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_pool(text)
    assert message in str(caught.value)
    assert caught.value.where == "--pool"
    assert caught.value.exit_code == 2


WORDS = st.sampled_from(
    ["accelerator", "accelerators", "nodes", "status", "metered", "and", "or", "not", "in", "(", ")", ",",
     "=", "!=", "<", ">=", "~", "!~", "8", "-1.5", "'a b'", '"x"', "'; DROP TABLE results; --", "?", "$1",
     "%", "\\", "\0", "é", "true", ";", "--", "/*"],
)  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=14).map(" ".join)))
def test_any_text_is_a_pool_or_an_error_and_never_reaches_sql(text: str) -> None:
    try:
        pool = parse_pool(text)
    except ConfigError:
        return
    with duckdb.connect() as connection:
        types = ", ".join(f"{name} {_SQL_TYPES[kind.split(' ')[0]]}" for name, kind in COLUMNS.items())
        connection.execute(f"CREATE TABLE results ({types})")
        sql = f"SELECT count(*) FROM results WHERE {pool.sql}"
        assert connection.execute(sql, list(pool.parameters)).fetchall() == [(0,)]
        assert connection.execute("SELECT count(*) FROM results").fetchall() == [(0,)]


@given(st.text(max_size=40))
def test_a_value_travels_as_a_parameter_whatever_is_in_it(value: str) -> None:
    quote = "'" if '"' in value else '"'
    if quote in value:
        return
    pool = parse_pool(f"submitter = {quote}{value}{quote}")
    assert pool.parameters == (value,)
    assert pool.sql == parse_pool("submitter = x").sql
