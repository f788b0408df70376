"""When a simulated device is there: a function of a seed and the virtual time; `Trace` is one, too."""

import math
from collections.abc import Callable, Iterator
from typing import Protocol, cast

from pydantic.dataclasses import dataclass

from openfl_like.federation.devices.quantities import STRICT, Moment, Seconds, Span, build_generator, drawn
from openfl_like.federation.seeds import derive_seed
from openfl_like.plan.section import Component
from openfl_like.plan.simulation import Quantity
from openfl_like.registry import resolve


class Availability(Protocol):
    """Says when a device is there."""

    @property
    def come_and_go(self) -> bool:
        """Whether devices leave and join; otherwise all are there from the beginning to the end."""
        ...

    def spans(self, device: str, seed: int) -> Iterator[Span]:
        """Yield spans from the beginning of the simulation on; two that follow each other may be alike."""
        ...

    def in_round(self, device: str, seed: int, number: int) -> bool:
        """Whether a device that is there, and is asked in a round, can be reached in it."""
        ...


def build_availability(component: Component) -> Availability:
    """Build what a plan says of it; the plan was checked before."""
    factory = cast("Callable[..., Availability]", resolve("availability", component.template))
    return factory(**component.settings)


ALWAYS = Span(there=True, until=math.inf)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AlwaysThere:
    """Every device is there at any time."""

    @property
    def come_and_go(self) -> bool:
        """See `Availability.come_and_go`."""
        return False

    def spans(self, device: str, seed: int) -> Iterator[Span]:  # noqa: ARG002 - nothing is drawn here
        """See `Availability.spans`."""
        yield ALWAYS

    def in_round(self, device: str, seed: int, number: int) -> bool:  # noqa: ARG002 - nothing is drawn here
        """See `Availability.in_round`."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class BernoulliAvailability:
    """Drawn anew again and again, whatever was before.

    Attributes:
        probability: With which a device is there; a number, or a generator such as `sine` over a day.
        every_s: Drawn anew after so many seconds, so that devices leave and join; none: in every round, and a device
            which is asked and not there is missed in that round.
    """

    probability: Quantity
    every_s: Seconds | None = None

    @property
    def come_and_go(self) -> bool:
        """See `Availability.come_and_go`."""
        return self.every_s is not None

    def spans(self, device: str, seed: int) -> Iterator[Span]:
        """See `Availability.spans`."""
        if self.every_s is None:
            yield ALWAYS
            return
        chance, number = build_generator(self.probability), 0
        own = derive_seed(seed, "probability")
        while True:
            begins = number * self.every_s
            there = drawn(derive_seed(seed, "span", number)) < chance.at(Moment(device, own, 0, begins))
            number += 1
            yield Span(there, number * self.every_s)

    def in_round(self, device: str, seed: int, number: int) -> bool:
        """See `Availability.in_round`."""
        if self.every_s is not None:
            return True
        chance = build_generator(self.probability).at(Moment(device, derive_seed(seed, "probability"), number))
        return drawn(derive_seed(seed, "round", number)) < chance


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class MarkovAvailability:
    """On and off in turn, each for a time that is drawn from an exponential distribution: a Markov chain.

    At the beginning each device is on with the probability that it has in the long run, on_s / (on_s + off_s).

    Attributes:
        on_s: How long a device is there, in the mean.
        off_s: How long it is away, in the mean.
    """

    on_s: Seconds
    off_s: Seconds

    @property
    def come_and_go(self) -> bool:
        """See `Availability.come_and_go`."""
        return True

    def spans(self, device: str, seed: int) -> Iterator[Span]:  # noqa: ARG002 - its seed is that of a device
        """See `Availability.spans`."""
        there = drawn(derive_seed(seed, "begins")) < self.on_s / (self.on_s + self.off_s)
        number, until = 0, 0.0
        while True:
            mean = self.on_s if there else self.off_s
            until -= mean * math.log(drawn(derive_seed(seed, "span", number)))
            yield Span(there, until)
            there, number = not there, number + 1

    def in_round(self, device: str, seed: int, number: int) -> bool:  # noqa: ARG002 - nothing is drawn here
        """See `Availability.in_round`."""
        return True
