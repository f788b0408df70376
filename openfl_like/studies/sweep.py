"""From axes to the points of a sweep: crossed where every value is wanted, drawn where they are too many."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from openfl_like.federation.seeds import SEED_BITS, derive_seed
from openfl_like.plan.mistakes import KeyPath
from openfl_like.studies.schema import Axis, Draws, GeometricSteps
from openfl_like.studies.study import Level, SweptAxis

_DIGITS = 4
"""Of a number that was drawn, so that it can be read, and is the same on every machine."""
_FEWEST_DIGITS, _MOST_DIGITS = 3, 17


@dataclass(frozen=True, slots=True)
class Change:
    """A key of the plan that gets another value.

    Attributes:
        key: The key, dotted.
        value: Its value.
        path: Where the study says so.
    """

    key: str
    value: JsonValue
    path: KeyPath


@dataclass(frozen=True, slots=True)
class Point:
    """A value on each axis.

    Attributes:
        levels: Axis -> the level.
        changes: What they change, in the order of the axes.
    """

    levels: Mapping[str, Level]
    changes: tuple[Change, ...]


_Choice = tuple[str, Level, tuple[Change, ...]]


def points(sweep: Mapping[str, Axis], draws: Draws | None) -> Iterator[Point]:
    """Yield the points: of the axes that are crossed the last one changes first, and of what is drawn the first."""
    crossed = [_levels(name, axis) for name, axis in sweep.items() if not axis.drawn]
    drawn = {name: axis for name, axis in sweep.items() if axis.drawn}
    for number in range(draws.count if draws is not None and drawn else 1):
        seed = draws.seed if draws is not None else 0
        fixed = [_drawn(name, axis, seed, number) for name, axis in drawn.items()]
        for chosen in itertools.product(*crossed):
            found = {name: (level, changes) for name, level, changes in (*chosen, *fixed)}
            order = [name for name in sweep if name in found]
            yield Point(
                {name: found[name][0] for name in order},
                tuple(change for name in order for change in found[name][1]),
            )


def count_of(sweep: Mapping[str, Axis], draws: Draws | None) -> int:
    """Return how many points there are."""
    crossed = math.prod(_size(axis) for axis in sweep.values() if not axis.drawn)
    return crossed * (draws.count if draws is not None and any(axis.drawn for axis in sweep.values()) else 1)


def swept(sweep: Mapping[str, Axis], found: Sequence[Point]) -> tuple[SweptAxis, ...]:
    """Return the axes with those of their levels that are in the points."""
    return tuple(
        SweptAxis(
            name,
            tuple(dict.fromkeys(point.levels[name] for point in found)),
            axis.drawn,
            axis.geometric is not None or axis.log_uniform is not None,
        )
        for name, axis in sweep.items()
    )


def _size(axis: Axis) -> int:
    if axis.geometric is not None:
        return axis.geometric.steps
    return len(axis.variants or axis.values or ())


def _levels(name: str, axis: Axis) -> list[_Choice]:
    if axis.variants is not None:
        return [
            (
                name,
                Level(level),
                tuple(Change(key, value, ("sweep", name, "variants", level, key)) for key, value in changes.items()),
            )
            for level, changes in axis.variants.items()
        ]
    steps = axis.geometric
    if steps is not None:
        return [_choice(name, axis, number, ("geometric",)) for number in _geometric(steps)]
    return [_choice(name, axis, value, ("values", place)) for place, value in enumerate(axis.values or ())]


def _choice(name: str, axis: Axis, value: JsonValue, place: KeyPath) -> _Choice:
    key = axis.key or ""
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return name, Level(_named(value), number), (Change(key, value, ("sweep", name, *place)),)


def _geometric(steps: GeometricSteps) -> list[float]:
    """Return the steps with as few digits as tell them apart, three at least."""
    ratio = (steps.high / steps.low) ** (1 / (steps.steps - 1))
    numbers = [steps.low * ratio**step for step in range(steps.steps)]
    for digits in range(_FEWEST_DIGITS, _MOST_DIGITS):
        rounded = [_rounded(number, digits) for number in numbers]
        if len({*rounded}) == len(numbers):
            return rounded
    return numbers


def _named(value: JsonValue) -> str:
    """Return a value as a level is called: what is no word or number by its JSON."""
    if isinstance(value, str):
        return value
    if not isinstance(value, float):
        return json.dumps(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _drawn(name: str, axis: Axis, seed: int, number: int) -> _Choice:
    """Draw the value of an axis for a point; other axes and other points do not change it."""
    part = derive_seed(seed, "sweep", name, number) / 2**SEED_BITS
    if axis.choice is not None:
        place = int(part * len(axis.choice))
        return _choice(name, axis, axis.choice[place], ("choice", place))
    if axis.integers is not None:
        span = axis.integers
        return _choice(name, axis, span.low + int(part * (span.high - span.low + 1)), ("integers",))
    if axis.log_uniform is not None:
        low, high = axis.log_uniform.low, axis.log_uniform.high
        return _choice(name, axis, _between(low, high, low * (high / low) ** part), ("log_uniform",))
    if axis.uniform is not None:
        low, high = axis.uniform.low, axis.uniform.high
        return _choice(name, axis, _between(low, high, low + part * (high - low)), ("uniform",))
    raise AssertionError(f"{name} is not drawn")


def _between(low: float, high: float, value: float) -> float:
    """Round a value that was drawn to as few digits as people want to read, in a narrow span to more."""
    digits = _DIGITS
    while digits < _MOST_DIGITS and abs(_rounded(value, digits) - value) > (high - low) / 1000:
        digits += 1
    return min(max(_rounded(value, digits), low), high)


def _rounded(value: float, digits: int = _DIGITS) -> float:
    return float(f"{value:.{digits}g}")
