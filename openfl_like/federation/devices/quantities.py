"""What a simulated device can do, as numbers: fixed ones, drawn from distributions, or changing over virtual time.

Each number is a function of a seed and a time, so that nobody has to keep those of a million devices.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass as plain_dataclass
from itertools import accumulate, pairwise
from statistics import NormalDist
from typing import Annotated, Literal, Protocol, Self, TypeAlias, cast

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from openfl_like.federation.seeds import SEED_BITS, derive_seed
from openfl_like.plan.simulation import Quantity
from openfl_like.registry import resolve

STRICT = ConfigDict(extra="forbid")
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=1e-3, allow_inf_nan=False)]
Each: TypeAlias = Literal["device", "round"]
Range: TypeAlias = tuple[float, float]
Point: TypeAlias = tuple[NotNegative, Number]
_BITS = 52
_NORMAL = NormalDist()


@plain_dataclass(frozen=True, slots=True)
class Moment:
    """For which device a number is wanted, and when.

    Attributes:
        device: Its name.
        seed: Of this number of this device.
        round: In which round.
        now: Virtual seconds since the simulation began.
    """

    device: str
    seed: int
    round: int = 0
    now: float = 0.0

    def draw(self, each: Each = "device") -> float:
        """Draw a number above 0 and below 1: the same for a device always, or in a round."""
        return drawn(self.seed if each == "device" else derive_seed(self.seed, self.round))


def drawn(seed: int) -> float:
    """Return a number above 0 and below 1; equal seeds give equal ones."""
    return ((seed >> (SEED_BITS - _BITS)) + 0.5) * 2.0**-_BITS


_LEAST, _MOST = drawn(0), drawn((1 << SEED_BITS) - 1)


@plain_dataclass(frozen=True, slots=True)
class Span:
    """For how long a device is there, or not.

    Attributes:
        there: Whether it is.
        until: Virtual seconds; from then on the next span counts. Infinite: there is no other one.
    """

    there: bool
    until: float


def _or_infinite(number: Callable[[], float]) -> float:
    try:
        return number()
    except OverflowError:
        return math.inf


class Generator(Protocol):
    """Gives one number of a device."""

    @property
    def bounds(self) -> Range:
        """The smallest and the largest number that it can give."""
        ...

    def at(self, moment: Moment) -> float:
        """Return the number; equal moments give equal ones."""
        ...


def build_generator(quantity: Quantity) -> Generator:
    """Build what a plan has in place of a number; the plan was checked before."""
    factory = cast("Callable[..., Generator]", resolve("generator", quantity.template))
    return factory(**quantity.settings)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Constant:
    """The same number for all devices at any time; a bare number in the plan is short for it.

    Attributes:
        value: The number.
    """

    value: Number

    @property
    def bounds(self) -> Range:
        """See `Generator.bounds`."""
        return self.value, self.value

    def at(self, moment: Moment) -> float:  # noqa: ARG002 - it is always the same
        """See `Generator.at`."""
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Uniform:
    """Drawn evenly between two numbers.

    Attributes:
        low: The smaller one.
        high: The larger one.
        each: Once for each ``device``, or anew in each ``round``.
    """

    low: Number
    high: Number
    each: Each = "device"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low is {self.low:g}, which is more than high ({self.high:g})")
        return self

    @property
    def bounds(self) -> Range:
        """See `Generator.bounds`."""
        return self.low, self.high

    def at(self, moment: Moment) -> float:
        """See `Generator.at`."""
        return self.low + (self.high - self.low) * moment.draw(self.each)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class LogNormal:
    """Drawn from a log-normal distribution: median · exp(sigma · a normal number).

    With sigma 1 one device in six has less than 0.37 of the median, and one in forty less than 0.14.

    Attributes:
        median: Half of the devices have less.
        sigma: How widely they differ.
        each: Once for each ``device``, or anew in each ``round``.
    """

    median: Positive
    sigma: NotNegative
    each: Each = "device"

    @property
    def bounds(self) -> Range:
        """See `Generator.bounds`."""
        return self._of(_LEAST), self._of(_MOST)

    def at(self, moment: Moment) -> float:
        """See `Generator.at`."""
        return self._of(moment.draw(self.each))

    def _of(self, part: float) -> float:
        return _or_infinite(lambda: self.median * math.exp(self.sigma * _NORMAL.inv_cdf(part)))


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Pareto:
    """Drawn from a Pareto distribution: few devices have very much more than most.

    Attributes:
        least: No device has less.
        alpha: How heavy the tail is: the smaller the number, the heavier the tail. At 1 or below there is no mean.
        most: No device has more; none: there is no limit.
        each: Once for each ``device``, or anew in each ``round``.
    """

    least: Positive
    alpha: Positive
    most: Positive | None = None
    each: Each = "device"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.most is not None and self.most < self.least:
            raise ValueError(f"most is {self.most:g}, which is less than least ({self.least:g})")
        return self

    @property
    def bounds(self) -> Range:
        """See `Generator.bounds`."""
        return self.least, self._of(_MOST)

    def at(self, moment: Moment) -> float:
        """See `Generator.at`."""
        return self._of(moment.draw(self.each))

    def _of(self, part: float) -> float:
        found = _or_infinite(lambda: self.least * math.pow(1.0 - part, -1.0 / self.alpha))
        return found if self.most is None else min(found, self.most)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Choice:
    """One of some numbers: classes of devices.

    Attributes:
        values: The numbers.
        weights: How often each is drawn, compared with the others; none: all alike.
        each: Once for each ``device``, or anew in each ``round``.
    """

    values: Annotated[tuple[Number, ...], Field(min_length=1)]
    weights: tuple[NotNegative, ...] | None = None
    each: Each = "device"

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.values):
            raise ValueError(f"there are {len(self.values)} values and {len(self.weights)} weights")
        if self.weights is not None and not sum(self.weights) > 0:
            raise ValueError("one of the weights must be more than 0")
        return self

    @property
    def bounds(self) -> Range:
        """See `Generator.bounds`."""
        possible = [value for value, weight in zip(self.values, self._weights, strict=True) if weight]
        return min(possible), max(possible)

    def at(self, moment: Moment) -> float:
        """See `Generator.at`."""
        sums = list(accumulate(self._weights))
        return self.values[min(bisect_right(sums, moment.draw(self.each) * sums[-1]), len(sums) - 1)]

    @property
    def _weights(self) -> tuple[float, ...]:
        return self.weights if self.weights is not None else (1.0,) * len(self.values)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Sine:
    """Goes up and down over virtual time: mean + amplitude · sin(2π · time / period).

    Attributes:
        mean: Half of the time it is more.
        amplitude: How far it goes up and down from there.
        period_s: How long one time up and down takes, such as a day.
        shifted: Whether each device is at a point of its own of the period, as if it were in another time zone.
    """

    mean: Number
    amplitude: Number
    period_s: Seconds
    shifted: bool = False

    @property
    def bounds(self) -> Range:
        """See `Generator.bounds`."""
        return self.mean - abs(self.amplitude), self.mean + abs(self.amplitude)

    def at(self, moment: Moment) -> float:
        """See `Generator.at`."""
        turns = math.fmod(moment.now, self.period_s) / self.period_s + (moment.draw() if self.shifted else 0.0)
        return self.mean + self.amplitude * math.sin(2.0 * math.pi * turns)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class StepValues:
    """One number after the other over virtual time; after the last one the first again.

    Attributes:
        values: The numbers.
        every_s: How long each of them lasts.
    """

    values: Annotated[tuple[Number, ...], Field(min_length=1)]
    every_s: Seconds

    @property
    def bounds(self) -> Range:
        """See `Generator.bounds`."""
        return min(self.values), max(self.values)

    def at(self, moment: Moment) -> float:
        """See `Generator.at`."""
        return self.values[math.floor(moment.now / self.every_s) % len(self.values)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Trace:
    """As it was observed: each number holds from its time on, until the next one.

    Among the ways of availability, 1 stands for a device that is there, and 0 for one that is away.

    Attributes:
        points: Pairs of virtual seconds and a number, the first at 0 and each later than the one before; or device ->
            such a list.
        file: In place of `points` a file of the workspace with the columns ``time_s`` and ``value``, and ``device``
            if each has its own.
        repeat_s: After so many seconds it begins anew; none: the last number stays.
    """

    points: tuple[Point, ...] | dict[str, tuple[Point, ...]] | None = None
    file: str | None = None
    repeat_s: Seconds | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.points is None) == (self.file is None):
            raise ValueError("give exactly one of points and file")
        lists = self._lists
        if self.points is not None and not lists:
            raise ValueError("points needs at least one device")
        for name, points in lists.items():
            self._check(f" of device '{name}'" if name else "", [time for time, _ in points])
        return self

    def _check(self, whose: str, times: list[float]) -> None:
        if not times or times[0] != 0:
            raise ValueError(f"the trace{whose} must begin at 0 s")
        late = next((pair for pair in pairwise(times) if pair[0] >= pair[1]), None)
        if late is not None:
            raise ValueError(f"in the trace{whose} {late[1]:g} s comes after {late[0]:g} s")
        if self.repeat_s is not None and self.repeat_s <= times[-1]:
            told = f"it begins anew after {self.repeat_s:g} s (repeat_s)"
            raise ValueError(f"the trace{whose} has a number for {times[-1]:g} s, and {told}")

    @property
    def _lists(self) -> Mapping[str, tuple[Point, ...]]:
        if self.points is None:
            return {}
        return self.points if isinstance(self.points, dict) else {"": self.points}

    @property
    def devices(self) -> frozenset[str] | None:
        """Whose numbers it has; None: they are the same for all."""
        return frozenset(self.points) if isinstance(self.points, dict) else None

    @property
    def bounds(self) -> Range:
        """See `Generator.bounds`; of a file that was not read nothing is known."""
        values = [value for points in self._lists.values() for _, value in points]
        return (min(values), max(values)) if values else (math.inf, -math.inf)

    def at(self, moment: Moment) -> float:
        """See `Generator.at`."""
        points = self.of(moment.device)
        now = moment.now if self.repeat_s is None else math.fmod(moment.now, self.repeat_s)
        _, value = points[bisect_right(points, now, key=lambda point: point[0]) - 1]
        return value

    def of(self, device: str) -> tuple[Point, ...]:
        """Return the points of a device."""
        return self._lists[device if self.devices is not None else ""]

    @property
    def come_and_go(self) -> bool:
        """See `availability.Availability.come_and_go`."""
        return True

    def spans(self, device: str, seed: int) -> Iterator[Span]:  # noqa: ARG002 - nothing is drawn here
        """See `availability.Availability.spans`."""
        points, begins = self.of(device), 0.0
        last = math.inf if self.repeat_s is None else self.repeat_s
        while begins < math.inf:
            ends = [*(time for time, _ in points[1:]), last]
            for (_, value), end in zip(points, ends, strict=True):
                yield Span(value > 0, begins + end)
            begins += last

    def in_round(self, device: str, seed: int, number: int) -> bool:  # noqa: ARG002 - nothing is drawn here
        """See `availability.Availability.in_round`."""
        return True
