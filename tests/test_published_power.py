"""Wall power: the mean between the marks, and the busiest stretch where there are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.loadgen.power_log import busiest, compact, marks, mean_power


def spl(watts: list[float], *, start: str = "07-22-2022 03:20:") -> bytes:
    """A meter's log with one sample a second from second 0 on."""
    lines = [
        f"Time,{start}{second:02d}.500,Watts,{value:.6f},Volts,-1.000000,Amps,-1.0,PF,-1.0,Mark,x_testing"
        for second, value in enumerate(watts)
    ]
    return ("\n".join(lines) + "\n").encode()


def test_the_mean_is_over_samples_strictly_between_the_marks() -> None:
    window = marks("07-22-2022 03:20:01.500", "07-22-2022 03:20:04.500")
    assert window is not None
    found = mean_power(spl([1, 2, 100, 200, 5, 6]), window)
    assert found is not None
    # Seconds 1 and 4 lie on the marks, so 100 and 200 remain.
    assert (found.mean_w, found.samples, found.duration_s) == (150.0, 2, 3.0)
    # 150 W for 3 s over 9 queries is 50 J each.
    assert found.per_query_j(9) == 50.0


def test_marks_across_new_year_hold() -> None:
    window = marks("12-31-2022 23:59:59.000", "01-01-2023 00:00:02.000")
    assert window is not None
    data = b"Time,12-31-2022 23:59:59.500,Watts,10.0,V\nTime,01-01-2023 00:00:01.000,Watts,30.0,V\n"
    found = mean_power(data, window)
    assert found is not None
    assert found.mean_w == 20.0


@pytest.mark.parametrize(
    ("begin", "end"),
    [(None, None), ("soon", "later"), ("07-22-2022 03:20:04.500", "07-22-2022 03:20:01.500"), (1, 2)],
)
def test_what_are_no_marks_give_no_window(begin: object, end: object) -> None:
    assert marks(begin, end) is None


def test_the_busiest_stretch_as_long_as_the_run_stands_for_the_marks() -> None:
    found = busiest(spl([10, 10, 10, 90, 100, 110, 10, 10]), 3.0)
    assert found is not None
    assert (found.mean_w, found.samples) == (100.0, 3)


def test_a_log_shorter_than_the_run_has_no_busiest_stretch() -> None:
    assert busiest(spl([10.0] * 5), 60.0) is None
    assert busiest(b"", 1.0) is None


def test_stamps_that_go_back_are_no_series() -> None:
    assert busiest(spl([10, 20, 30]) + spl([10, 20, 30]), 2.0) is None


@given(st.lists(st.floats(1, 5000), min_size=3, max_size=50), st.integers(1, 40))
def test_the_busiest_stretch_is_at_least_the_mean_of_every_stretch(watts: list[float], length: int) -> None:
    found = busiest(spl(watts), float(length))
    if found is None:
        assert length > len(watts)
        return
    whole = [watts[i : i + length] for i in range(len(watts) - length + 1)]
    assert all(found.mean_w >= sum(s) / len(s) - 1e-3 for s in whole)
    assert found.mean_w <= max(watts) + 1e-3


@given(st.binary(max_size=300))
def test_no_bytes_make_the_meter_reader_crash(data: bytes) -> None:
    window = marks("07-22-2022 03:20:01.500", "07-22-2022 03:20:04.500")
    assert window is not None
    for text in (data, spl([5.0]) + data, b"Time,07-22-2022 03:20:02.500,Watts," + data):
        mean_power(text, window)
        busiest(text, 1.0)


def test_compact_keeps_what_is_read() -> None:
    data = spl([10, 20, 30])
    window = marks("07-22-2022 03:20:00.000", "07-22-2022 03:20:09.000")
    assert window is not None
    assert len(compact(data)) < len(data) / 2
    assert mean_power(compact(data), window) == mean_power(data, window)
