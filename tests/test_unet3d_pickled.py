"""Pickled cases are read, not unpickled: nothing in them runs, only numeric arrays come out."""

from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from coldmark.core.errors import DataError
from coldmark.workloads.unet3d.pickled import array_of, read_pickle


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_out_of_a_pickle_as_they_went_in(protocol: int, order: Any, tmp_path: Path) -> None:
    path = tmp_path / "case.pkl"
    image = np.asarray(np.random.default_rng(0).standard_normal((1, 3, 4, 5)), np.float32, order=order)
    labels = np.arange(60, dtype=np.uint8).reshape(1, 3, 4, 5)
    path.write_bytes(pickle.dumps([image, labels], protocol))
    found = [array_of(note, path) for note in read_pickle(path)]
    assert np.array_equal(found[0], image)
    assert np.array_equal(found[1], labels)
    assert [a.dtype for a in found] == [np.float32, np.uint8]


def first_array(path: Path) -> NDArray[Any]:
    content = read_pickle(path)
    return array_of(content[0] if isinstance(content, list) else content, path)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_nothing_in_a_pickle_is_run(protocol: int, tmp_path: Path) -> None:
    path, mark = tmp_path / "case.pkl", tmp_path / "ran"
    for bad in ([_Bomb(mark), _Bomb(mark)], [np.array([_Bomb(mark)], object)] * 2, _Bomb(mark)):
        path.write_bytes(pickle.dumps(bad, protocol))
        with pytest.raises(DataError, match=r"case\.pkl"):
            first_array(path)
    assert not mark.exists()


def arrays_or_error(path: Path) -> list[NDArray[Any]] | DataError:
    try:
        content = read_pickle(path)
        return [array_of(note, path) for note in content] if isinstance(content, list) else []
    except DataError as error:
        return error


@given(st.binary(max_size=60), st.integers(0, 400))
def test_a_damaged_pickle_is_an_error_and_never_a_crash(noise: bytes, at: int) -> None:
    whole = pickle.dumps([np.zeros((1, 2, 2, 2), np.float32), np.zeros((1, 2, 2, 2), np.uint8)])
    with tempfile.NamedTemporaryFile(suffix=".pkl") as file:
        file.write(whole[:at] + noise + whole[at + len(noise) :])
        file.flush()
        found = arrays_or_error(Path(file.name))
        if isinstance(found, DataError):
            assert Path(file.name).name in str(found)
        else:
            assert all(a.dtype.kind in "fiub" for a in found)


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.array([None]), np.zeros(3, [("a", "f4")]), np.array(["2020"], "M8[D]")]
)
def test_only_plain_numbers_are_taken(array: Any, tmp_path: Path) -> None:
    path = tmp_path / "case.pkl"
    path.write_bytes(pickle.dumps([array, array]))
    with pytest.raises(DataError, match="plain arrays"):
        array_of(read_pickle(path)[0], path)


def test_a_length_beyond_the_file_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "case.pkl"
    path.write_bytes(b"\x80\x04\x8e" + (2**60).to_bytes(8, "little") + b"abc.")
    with pytest.raises(DataError, match="plain arrays"):
        read_pickle(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="0 bytes"):
        read_pickle(path)
