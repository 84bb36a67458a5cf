"""The table of outstanding ids against a plain model of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldmark.loadgen.outstanding import BLOCK_MIN, HarnessFault, Outstanding


def u64(*ids: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(ids, np.uint64)


@pytest.mark.parametrize("n", [1, 8, BLOCK_MIN - 1, BLOCK_MIN, 3 * BLOCK_MIN])
def test_what_was_issued_can_be_completed_once_in_any_order(n: int) -> None:
    table = Outstanding()
    ids = [2**63 + 16 * i for i in range(n)]
    table.add(ids)
    assert len(table) == n
    shuffled = np.random.default_rng(0).permutation(np.array(ids, np.uint64))
    for at in range(0, n, 7):
        table.take(shuffled[at : at + 7])
    assert len(table) == 0
    with pytest.raises(HarnessFault):
        table.take(u64(ids[0]))


@pytest.mark.parametrize("n", [4, 2 * BLOCK_MIN])
def test_an_unknown_id_is_refused(n: int) -> None:
    table = Outstanding()
    table.add(list(range(8, 8 + 8 * n, 8)))
    with pytest.raises(HarnessFault):
        table.take(u64(9))
    with pytest.raises(HarnessFault):
        table.take(u64(2**64 - 1))


@pytest.mark.parametrize("n", [4, 2 * BLOCK_MIN])
def test_an_id_twice_in_one_completion_is_refused(n: int) -> None:
    table = Outstanding()
    table.add(list(range(8, 8 + 8 * n, 8)))
    with pytest.raises(HarnessFault):
        table.take(u64(8, 16, 8))


@pytest.mark.parametrize("n", [4, 2 * BLOCK_MIN])
def test_an_id_completed_again_while_others_are_open_is_refused(n: int) -> None:
    table = Outstanding()
    table.add(list(range(8, 8 + 8 * n, 8)))
    table.take(u64(16))
    with pytest.raises(HarnessFault):
        table.take(u64(16))


@pytest.mark.parametrize("n", [4, 2 * BLOCK_MIN])
def test_an_id_issued_twice_is_refused(n: int) -> None:
    table = Outstanding()
    table.add(list(range(8, 8 + 8 * n, 8)))
    with pytest.raises(HarnessFault):
        table.add([8])
    with pytest.raises(HarnessFault):
        Outstanding().add([5] * n)


def test_an_id_of_a_small_query_cannot_come_again_in_a_large_one() -> None:
    table = Outstanding()
    table.add([8])
    with pytest.raises(HarnessFault):
        table.add(list(range(8, 8 + 8 * BLOCK_MIN, 8)))


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 40), min_size=1, max_size=6)), max_size=30))
def test_it_agrees_with_a_set(steps: list[tuple[bool, list[int]]]) -> None:
    table, model = Outstanding(), set[int]()
    table.add(range(1000, 1000 + BLOCK_MIN))  # a large query beside the small ones
    for is_add, ids in steps:
        fresh = len(set(ids)) == len(ids)
        fits = fresh and (not model & set(ids) if is_add else set(ids) <= model)
        if not fits:
            with pytest.raises(HarnessFault):
                table.add(ids) if is_add else table.take(u64(*ids))
            return
        if is_add:
            table.add(ids)
            model |= set(ids)
        else:
            table.take(u64(*ids))
            model -= set(ids)
        assert len(table) == len(model) + BLOCK_MIN
