"""KDD Cup 99: network connections, from the files of the contest."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np

from openfl_like.data.files.kdd_columns import CLASSES, COLUMNS, SERVICES, WIDTH, Scale
from openfl_like.data.files.reading import opened
from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.data.split import concatenate, split_dataset
from openfl_like.errors import ShardError

_ROWS = 20_000
"""So many rows are texts at once: those of the whole file would take 100 times its size."""
_Rows: TypeAlias = list[tuple[int, list[str]]]


class KddCupShard(ArrayShard):
    """KDD Cup 99: network connections, samples ``[122]`` float32, targets int64 scalars: which are attacks?

    The data of the third KDD contest (S. Hettich, S. D. Bay 1999, UCI KDD archive; from the DARPA evaluation of 1998 of
    MIT Lincoln Laboratory). In the order of the columns, a number becomes one number, and a word as many as there are
    words, one of which is 1: three protocols, 70 services (one that is not among them sets none), eleven flags. Rates
    and yes-or-no columns are as they are; ``count`` and ``srv_count`` are divided by 512, ``dst_host_count`` and
    ``dst_host_srv_count`` by 256; any other number n becomes ln(1 + n) / 10. These are constants, no statistics of
    rows, so that all sites have the same scale.

    Args:
        file: ``kddcup.data`` or ``kddcup.data_10_percent``, as it is or compressed (``.gz``). As float32 the former
            takes 2.4 GB, the latter 240 MB.
        test_file: What is held out, such as ``corrected``; none: a part of ``file``.
        classes: 5: normal, probe, dos, u2r and r2l, as the contest numbers them; 2: normal and attack.
        holdout: Without ``test_file``, the share that is held out, of each class.
        seed: Seed of the choice of these.

    Raises:
        ShardError: If a file is missing, cut off or of another form; with the line, and never with what is in it.
    """

    def __init__(
        self, file: str, test_file: str | None = None, classes: int = 5, holdout: float = 0.25, seed: int = 0
    ) -> None:
        if classes not in {2, len(CLASSES)}:
            raise ShardError(f"classes is {classes}, not 2 or 5", cure="write classes: 5, or leave it out")
        given = _ConnectionFile(Path(file), classes).read()
        if test_file is None:
            datasets = split_dataset(given, holdout, seed)
        else:
            datasets = {"train": given, "validate": _ConnectionFile(Path(test_file), classes).read()}
        super().__init__(
            datasets,
            "KDD Cup 99: network connections, normal ones and attacks (S. Hettich, S. D. Bay 1999, UCI KDD archive).",
            sample_range=(0.0, 3.0),
            classes=classes,
        )


class _ConnectionFile:
    """A file of labelled connections without a heading."""

    def __init__(self, path: Path, classes: int) -> None:
        self._path = path
        self._numbers = {label: number for number, labels in enumerate(CLASSES.values()) for label in labels}
        if classes == 2:
            self._numbers = {label: min(number, 1) for label, number in self._numbers.items()}

    def read(self) -> Dataset:
        """Read all connections; raises ShardError."""
        with opened(self._path) as file, io.TextIOWrapper(file, "latin1", newline="") as text:
            parts = [self._encoded(rows) for rows in self._chunks(text)]
        if not parts:
            raise self._wrong("the file is empty")
        return concatenate(parts)

    def _chunks(self, text: io.TextIOWrapper) -> Iterator[_Rows]:
        """Yield some rows at a time, each with its line of the file."""
        reader = csv.reader(text)
        numbered = ((reader.line_num, row) for row in reader if row)
        while rows := list(islice(numbered, _ROWS)):
            for line, row in rows:
                if len(row) != len(COLUMNS) + 1:
                    told = f"line {line} has {len(row)} cells; a connection with its label has {len(COLUMNS) + 1}"
                    raise self._wrong(told)
            yield rows

    def _encoded(self, rows: _Rows) -> Dataset:
        samples, place = np.zeros((len(rows), WIDTH), np.float32), 0
        *columns, labels = zip(*(row for _, row in rows), strict=True)
        for (name, how), cells in zip(COLUMNS.items(), columns, strict=True):
            width = 1 if isinstance(how, Scale) else len(how)
            part = samples[:, place : place + width]
            if isinstance(how, Scale):
                part[:, 0] = how.applied(_numbers(cells))
                self._refuse(rows, np.isnan(part[:, 0]), f"the column '{name}' is no number that it may be")
            else:
                found = _places(cells, how)
                self._refuse(rows, (found < 0) & (how is not SERVICES), f"the column '{name}' is none of its words")
                known = np.flatnonzero(found >= 0)
                part[known, found[known]] = 1
            place += width
        targets = np.array([self._numbers.get(label.strip().removesuffix("."), -1) for label in labels], np.int64)
        self._refuse(rows, targets < 0, "the label is neither normal nor an attack of the contest")
        return Dataset(samples, targets)

    def _refuse(self, rows: _Rows, wrong: np.ndarray, what: str) -> None:
        """Refuse the first row that is wrong, by its line; what is in it stays here."""
        if wrong.any():
            raise self._wrong(f"line {rows[int(np.argmax(wrong))][0]}: {what}")

    def _wrong(self, told: str) -> ShardError:
        return ShardError(
            told,
            place=str(self._path),
            cure="give a file of KDD Cup 99 that has labels; leave out a line of it that is damaged",
        )


def _numbers(cells: Sequence[str]) -> np.ndarray:
    """Return a column as numbers; a cell that is none is NaN."""
    try:
        return np.array(cells, np.float64)
    except ValueError:
        return np.array([_number(cell) for cell in cells])


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _places(cells: Sequence[str], words: Sequence[str]) -> np.ndarray:
    """Return the place of each cell among the words, or -1."""
    places = {word: place for place, word in enumerate(words)}
    return np.array([places.get(cell.strip(), -1) for cell in cells], np.int64)
