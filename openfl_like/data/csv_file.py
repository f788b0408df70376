"""A shard of one CSV file with a heading; what is wrong with the file is told with its line, never with its cells."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from openfl_like.data.partition import Iid, rows_of_site
from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.data.split import stratified_holdout
from openfl_like.errors import ShardError
from openfl_like.plan.mistakes import did_you_mean

_LIMIT = 100.0
"""What a number may be, scaled: larger ones would drown the others in the model."""


class CsvShard(ArrayShard):
    """The rows of a CSV file: samples ``[columns]`` float32; targets int64 class numbers, or float32 without classes.

    Args:
        file: The file; its first line names the columns.
        target: The column that is to be predicted.
        classes: What may stand in that column, as words; the first is class 0. They must be the same at every site.
            Empty: the column holds numbers to come near to.
        columns: The columns that the model sees, in this order; None: all others. It must be the same at every site.
        scale: Column -> centre and width: ``(value - centre) / width`` is what the model sees, or what it predicts.
            Constants that all sites agree on, never statistics of one site's rows. Other columns are taken as they are.
        site: Which site's share of the rows, from 1 to ``sites``; for simulations.
        sites: How many sites share the file; 1: all rows are this site's.
        seed: Seed of the deal and of the split; all sites that share a file must use the same.
        holdout: Share of the rows that is held out, of each class.
        delimiter: What stands between two cells.
        group: The column that says whose a row is, such as a ward or a machine, for the partitioner ``natural``; the
            model does not see it. None: nobody says.

    Raises:
        ShardError: If a column is not there, or a cell cannot be used; with its line of the file.
    """

    def __init__(  # noqa: PLR0913 (the params of shard.yaml, by name)
        self,
        file: str,
        target: str,
        *,
        classes: Sequence[object] = (),
        columns: Sequence[str] | None = None,
        scale: Mapping[str, Sequence[float]] | None = None,
        site: int = 1,
        sites: int = 1,
        seed: int = 0,
        holdout: float = 0.25,
        delimiter: str = ",",
        group: str | None = None,
    ) -> None:
        table = _Table(Path(file), delimiter)
        seen = table.columns_seen(target, columns, group)
        scales = _scales(scale or {}, seen if classes else [*seen, target])
        words = _words(classes)
        numbers = {name: table.numbers(name, scales) for name in (seen if words else [*seen, target])}
        table.check_sizes(numbers)
        samples = np.stack([numbers[name] for name in seen], axis=1).astype(np.float32)
        targets = table.class_numbers(target, words) if words else numbers[target].astype(np.float32)
        rows = rows_of_site(Iid(), targets, site, sites, seed)
        strata = targets[rows] if words else np.zeros(len(rows))
        parts = dict(zip(("train", "validate"), stratified_holdout(strata, holdout, seed), strict=True))
        groups = table.groups(group) if group is not None else None
        super().__init__(
            {kind: Dataset(samples[rows[part]], targets[rows[part]]) for kind, part in parts.items()},
            description=f"A table: {', '.join(seen)}; to be predicted: {target}.",
            sample_range=(-_LIMIT, _LIMIT),
            classes=len(words),
            groups=None if groups is None else {kind: groups[rows[part]] for kind, part in parts.items()},
        )


class _Table:
    """The cells of the file as text, with the line of each row."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self._path = path
        with path.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter=delimiter)
            self._heading = [name.strip() for name in next(reader, [])]
            found = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        self._lines = [line for line, _ in found]
        for line, row in found:
            if len(row) != len(self._heading):
                told = f"line {line} has {len(row)} cells, the heading has {len(self._heading)}"
                raise self._wrong(told, "see that a text with the delimiter in it is in quotes")
        twice = next((name for name in self._heading if self._heading.count(name) > 1), None)
        if twice is not None:
            raise self._wrong(f"two columns are called '{twice}'", "rename one in the first line")
        columns = zip(*(row for _, row in found), strict=True)
        self._texts = {
            name: [cell.strip() for cell in cells] for name, cells in zip(self._heading, columns, strict=False)
        }

    def columns_seen(self, target: str, columns: Sequence[str] | None, group: str | None) -> list[str]:
        """Return the columns that the model sees; they, the target and that of groups are there."""
        unseen = [target] if group is None else [target, group]
        seen = [name for name in self._heading if name not in unseen] if columns is None else list(columns)
        for name in (*unseen, *seen):
            if name not in self._heading:
                alone = len(self._heading) < 2
                cure = "name another params.delimiter" if alone else did_you_mean(name, self._heading)
                raise self._wrong(f"there is no column '{name}'", cure)
        if not self._lines:
            raise self._wrong("there are no rows below the heading", "give the site a file with data")
        if not seen or set(unseen) & set(seen):
            told = f"the {'target' if target in seen else 'group'} is among params.columns"
            told = told if seen else "no column is left for the model to see"
            raise self._wrong(told, "name the columns that it sees in params.columns")
        return seen

    def groups(self, name: str) -> np.ndarray:
        """Return the number of each row's group, in the order of their names."""
        self._refuse(name, [not text for text in self._texts[name]], "is empty", "write whose that row is")
        return np.unique(self._texts[name], return_inverse=True)[1].astype(np.int64)

    def numbers(self, name: str, scales: Mapping[str, tuple[float, float]]) -> np.ndarray:
        """Return a column as numbers, scaled."""
        values = np.array([_number(text) for text in self._texts[name]])
        self._refuse(name, [not text for text in self._texts[name]], "is empty", "fill it in, or leave that line out")
        cure = "name the columns that are numbers in params.columns of shard.yaml, or give the words numbers"
        self._refuse(name, ~np.isfinite(values), "is not a finite number", cure)
        centre, width = scales.get(name, (0.0, 1.0))
        scaled: np.ndarray = (values - centre) / width
        return scaled

    def check_sizes(self, numbers: Mapping[str, np.ndarray]) -> None:
        """Refuse numbers that would drown the others; the cure is for all such columns at once."""
        large = [name for name, values in numbers.items() if np.any(np.abs(values) > _LIMIT)]
        scale = ", ".join(f"{name}: [CENTRE, WIDTH]" for name in large)
        cure = f"write scale: {{{scale}}} into params of shard.yaml, the same at every site"
        for name in large:
            self._refuse(name, np.abs(numbers[name]) > _LIMIT, f"is further than {_LIMIT:g} from 0", cure)

    def class_numbers(self, name: str, words: Sequence[str]) -> np.ndarray:
        """Return a column of words as their numbers."""
        numbers = {word: number for number, word in enumerate(words)}
        found = np.array([numbers.get(text, -1) for text in self._texts[name]], np.int64)
        self._refuse(name, found < 0, f"is none of the classes {', '.join(words)}", "add it to params.classes")
        return found

    def _refuse(self, name: str, wrong: Sequence[bool] | np.ndarray, what: str, cure: str) -> None:
        """Refuse the first cell that is wrong, by the line of the file; what is in it stays here."""
        if np.any(wrong):
            raise self._wrong(f"line {self._lines[int(np.argmax(wrong))]}: the column '{name}' {what}", cure)

    def _wrong(self, told: str, cure: str) -> ShardError:
        return ShardError(told, place=str(self._path), cure=cure)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _scales(given: Mapping[str, Sequence[float]], seen: Sequence[str]) -> dict[str, tuple[float, float]]:
    for name, pair in given.items():
        if name not in seen:
            raise ShardError(f"params.scale names '{name}', which is not a column", cure=did_you_mean(name, seen))
        if len(pair) != 2 or not pair[1]:
            raise ShardError(f"params.scale of '{name}' is not a pair of centre and width", cure=f"{name}: [50, 20]")
    return {name: (float(pair[0]), float(pair[1])) for name, pair in given.items()}


def _words(classes: Sequence[object]) -> list[str]:
    """Return the classes as they stand in cells."""
    for one in classes:
        if isinstance(one, bool):  # what YAML makes of a bare no
            raise ShardError(
                f"params.classes has the truth value {one}, not a word", cure="put words into quotes: 'no'"
            )
    return [str(one) for one in classes]
