"""Pickle files: nothing that one names is ever called."""

import builtins
import os
import pickle
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openfl_like.data.files.pickled import array_of, read_pickled
from openfl_like.errors import ShardError
from tests.made_files import python_2_pickle

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)
FINE = python_2_pickle(PIXELS, {"labels": [1, 2, 3]})


class Evil:
    """Calls something when it is read."""

    def __init__(self, called: object, *arguments: object) -> None:
        self._reduced = (called, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._reduced


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("called", [os.system, builtins.eval, builtins.getattr, np.load, np.fromfile, sys.exit])
def test_what_names_a_function_is_refused_and_nothing_is_called(tmp_path: Path, called: object, protocol: int) -> None:
    path, trace = tmp_path / "batch", tmp_path / "trace"
    path.write_bytes(pickle.dumps({"data": Evil(called, f"touch {trace}")}, protocol))
    with pytest.raises(ShardError, match="called: it holds more than arrays, numbers and texts, and is not read"):
        read_pickled(path)
    assert not trace.exists()


GIVEN_A_STATE = b"\x80\x02cnumpy\ndtype\n}U\x08__code__Nsb."
UNKNOWN_EXTENSION = b"\x80\x02\x82\x01."
PERSISTENT = b"\x80\x02Pwhatever\n."
LARGE_NUMBER = b"\x80\x02}r\xff\xff\xff\x7f."
LARGE_LENGTH = b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00ab."
NEW_OBJECT = b"\x80\x02cnumpy\nndarray\n)\x81."


@pytest.mark.parametrize(
    "content", [GIVEN_A_STATE, UNKNOWN_EXTENSION, PERSISTENT, NEW_OBJECT, LARGE_NUMBER, LARGE_LENGTH]
)
def test_other_ways_to_have_something_done_or_kept_lead_nowhere(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "batch").write_bytes(content)
    with pytest.raises(ShardError, match="no whole pickle file"):
        read_pickled(tmp_path / "batch")


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_an_array_is_made_of_what_the_file_says(tmp_path: Path, module: str) -> None:
    (tmp_path / "batch").write_bytes(python_2_pickle(PIXELS, {"labels": [1, 2, 3]}, module))
    found = read_pickled(tmp_path / "batch")
    assert np.array_equal(array_of(found["data"], tmp_path), PIXELS)
    assert found["labels"] == [1, 2, 3]


def test_an_array_by_columns_is_the_same_array(tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": np.asfortranarray(PIXELS)}, 2))
    assert np.array_equal(array_of(read_pickled(tmp_path / "batch")["data"], tmp_path), PIXELS)


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")  # of pickletools, over a damaged name
@settings(max_examples=300, deadline=None)
@example(place=11, value=92, cut=33)
@given(place=st.integers(0, len(FINE) - 1), value=st.integers(0, 255), cut=st.integers(0, len(FINE)))
def test_any_damage_is_told_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int, cut: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "batch"
    damaged = bytearray(FINE)
    damaged[place] = value
    path.write_bytes(bytes(damaged[: max(cut, place + 1)]))
    with suppress(ShardError):  # any other error fails the test
        assert array_of(read_pickled(path).get("data"), path).dtype == np.uint8
