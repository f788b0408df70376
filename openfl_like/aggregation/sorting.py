"""Sorting a few long rows elementwise: as comparisons of whole rows, which the processor makes many at a time."""

from collections.abc import Iterator
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Rows: TypeAlias = npt.NDArray[np.float64]

MOST_ROWS = 32
"""Beyond, the number of comparisons grows faster than what they save; measured."""


def sort_rows(blocks: Rows, first: int, stop: int) -> list[Rows]:
    """Sort the columns of a block and return the rows that are wanted, the smallest first.

    A column with a NaN becomes NaN in every row that is given. Which of 0 and -0 is the smaller is not said.

    Args:
        blocks: Float64 [K, n]; it is overwritten.
        first: The first wanted row.
        stop: The row after the last wanted one.

    Returns:
        Float64 [n] each; parts of ``blocks``, but for one.
    """
    if len(blocks) > MOST_ROWS:
        return _sort_columns(blocks, first, stop)
    rows, spare = list(blocks), np.empty(blocks.shape[1])
    for low, high in comparators(len(rows), first, stop):
        np.minimum(rows[low], rows[high], out=spare)
        np.maximum(rows[low], rows[high], out=rows[high])
        rows[low], spare = spare, rows[low]
    return rows[first:stop]


def _sort_columns(blocks: Rows, first: int, stop: int) -> list[Rows]:
    blocks.sort(axis=0)
    wanted = list(blocks[first:stop])
    unknown = np.isnan(blocks[-1])  # a NaN is sorted behind all numbers
    if unknown.any():
        for row in wanted:
            row[unknown] = np.nan
    return wanted


@lru_cache(maxsize=64)
def comparators(count: int, first: int, stop: int) -> tuple[tuple[int, int], ...]:
    """List the comparisons that put the wanted rows into their places.

    Batcher's odd-even merge sort (Knuth, The Art of Computer Programming 3, section 5.2.2, algorithm M), without those
    comparisons that none of the wanted rows depends on.

    Args:
        count: How many rows there are.
        first: The first wanted row.
        stop: The row after the last wanted one.

    Returns:
        Pairs of rows (low, high), in order: the smaller element goes to the former, the larger to the latter.
    """
    needed = set(range(first, stop))
    kept = []
    for low, high in reversed(list(_merge_exchange(count))):
        if needed & {low, high}:
            needed |= {low, high}
            kept.append((low, high))
    return tuple(reversed(kept))


def _merge_exchange(count: int) -> Iterator[tuple[int, int]]:
    top = 1 << max(0, (count - 1).bit_length() - 1)
    step = top
    while step > 0:
        reach, offset, distance = top, 0, step
        while True:
            yield from ((low, low + distance) for low in range(count - distance) if low & step == offset)
            if reach == step:
                break
            distance, reach, offset = reach - step, reach // 2, step
        step //= 2
