"""What the schema of a study cannot say: rules between its parts."""

from collections import Counter
from collections.abc import Iterator, Sequence

from openfl_like.plan.mistakes import Mistake, did_you_mean
from openfl_like.studies.schema import MOST_RUNS, Axis, StudyFile
from openfl_like.studies.study import SweptAxis
from openfl_like.studies.sweep import count_of, points

_NOT_SWEPT = {
    "seed": ("repetitions have seeds of their own", "write repetitions and seeds, or set seed below set"),
    "workspace": ("all runs have the code of the base plan", "write a study for each workspace"),
}


def mistakes_in_study(file: StudyFile) -> Iterator[Mistake]:
    """List what is wrong in a study that fits the schema, without looking at plans."""
    yield from _keys(file)
    yield from _draws(file)
    yield from _size(file)
    yield from _compared(file)
    if "workspace" in file.set:
        yield Mistake(("set", "workspace"), "all runs have the code of the base plan", "write it into that")


def _keys(file: StudyFile) -> Iterator[Mistake]:
    owners: dict[str, str] = {}
    for name, axis in file.sweep.items():
        keys = {key for changes in (axis.variants or {}).values() for key in changes} | ({axis.key} - {None})
        for key in sorted(str(key) for key in keys):
            path = ("sweep", name) if axis.variants is not None else ("sweep", name, "key")
            if key in _NOT_SWEPT:
                problem, cure = _NOT_SWEPT[key]
                yield Mistake(path, f"{key}: {problem}", cure)
            if key in owners:
                yield Mistake(path, f"{key} is swept over by '{owners[key]}' already", "name each key in one axis only")
            owners.setdefault(key, name)


def _draws(file: StudyFile) -> Iterator[Mistake]:
    drawn = [name for name, axis in file.sweep.items() if axis.drawn]
    if drawn and file.draws is None:
        cure = "write draws: {count: 20}, or give all values with values:"
        yield Mistake(("sweep", drawn[0]), "its values are drawn, and it is not said how many", cure)
    if file.draws is not None and not drawn:
        cure = "leave draws out, or give an axis uniform, log_uniform, integers or choice"
        yield Mistake(("draws",), "there is no axis whose values are drawn", cure)


def _size(file: StudyFile) -> Iterator[Mistake]:
    configurations = count_of(file.sweep, file.draws)
    runs = configurations * file.repetitions
    if runs > MOST_RUNS:
        yield Mistake(("sweep",), f"it makes {runs:,} runs", f"at most {MOST_RUNS:,} are one study")
    if file.early_stop is not None and configurations < 2:
        yield Mistake(("early_stop",), "there is one configuration only, and none that it could be worse than")
    for name, axis in file.sweep.items():
        yield from _twice(name, axis)


def _twice(name: str, axis: Axis) -> Iterator[Mistake]:
    """Name values that stand twice where every one is taken."""
    if axis.values is None:
        return
    levels = [point.levels[name].name for point in points({name: axis}, None)]
    for level, count in Counter(levels).items():
        if count > 1:
            yield Mistake(("sweep", name, "values"), f"the value {level} stands there twice", "write it once")


def _compared(file: StudyFile) -> Iterator[Mistake]:
    chosen = file.compare
    if chosen.axis is not None and chosen.axis not in file.sweep:
        cure = did_you_mean(chosen.axis, list(file.sweep))
        yield Mistake(("compare", "axis"), f"there is no axis '{chosen.axis}'", cure)
        return
    name = chosen.axis or default_axis(file)
    if chosen.baseline is None or count_of(file.sweep, file.draws) > MOST_RUNS:
        return
    if not name:
        yield Mistake(("compare", "baseline"), "nothing is swept over, so nothing can be compared", "leave it out")
        return
    levels = [point.levels[name].name for point in points({name: file.sweep[name]}, file.draws)]
    if chosen.baseline not in levels:
        cure = did_you_mean(chosen.baseline, levels)
        yield Mistake(("compare", "baseline"), f"'{chosen.baseline}' is no level of '{name}'", cure)


def default_axis(file: StudyFile) -> str:
    """Return the axis that is compared where the study does not say it: the first with variants, or else the first."""
    variants = [name for name, axis in file.sweep.items() if axis.variants is not None]
    return next(iter((*variants, *file.sweep)), "")


def names_compared(file: StudyFile, axes: Sequence[SweptAxis]) -> tuple[str, str]:
    """Return the axis whose levels are compared, and the level that the others are tested against."""
    name = file.compare.axis or default_axis(file)
    levels = next((axis.levels for axis in axes if axis.name == name), ())
    return name, file.compare.baseline or (levels[0].name if levels else "")
