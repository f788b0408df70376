"""What simulated devices are like: drawn from the plan's seed when somebody asks, and kept by nobody."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

from openfl_like.federation.devices.availability import build_availability
from openfl_like.federation.devices.quantities import Moment, Span, Trace, build_generator, drawn
from openfl_like.federation.seeds import derive_seed
from openfl_like.plan.simulation import DeviceSection, Quantity

STREAM = "device"
"""The first part of every seed of a device."""


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """What one device can do at one moment.

    Attributes:
        speed: Samples, or steps, that it trains on in a second.
        down_bytes_per_s: How fast models come; infinite: at once.
        up_bytes_per_s: How fast updates go; infinite: at once.
        latency_s: What each of the two takes besides.
        computing_w: Watts that it draws while it computes.
        sending_w: While it sends or receives.
        idle_w: While it waits for the end of a round.
    """

    speed: float
    down_bytes_per_s: float = inf
    up_bytes_per_s: float = inf
    latency_s: float = 0.0
    computing_w: float = 0.0
    sending_w: float = 0.0
    idle_w: float = 0.0


def quantities_of(section: DeviceSection) -> dict[str, Quantity]:
    """Return the quantities of a profile that a plan has, by the name of the attribute."""
    network, power = section.network, section.power
    found = {
        "speed": section.speed,
        "down_bytes_per_s": network.down_bytes_per_s,
        "up_bytes_per_s": network.up_bytes_per_s,
        "latency_s": network.latency_s,
        "computing_w": power.computing_w,
        "sending_w": power.sending_w,
        "idle_w": power.idle_w,
    }
    return {name: quantity for name, quantity in found.items() if quantity is not None}


class SimulatedDevices:
    """The devices of a plan; one of a million takes as long to ask for as one of ten.

    Args:
        section: What the plan says.
        seed: The plan's.
    """

    def __init__(self, section: DeviceSection, seed: int) -> None:
        self._seed = seed
        self._generators = {name: build_generator(quantity) for name, quantity in quantities_of(section).items()}
        self._failures = build_generator(section.failures)
        self._availability = build_availability(section.availability)

    def profile(self, device: str, number: int = 0, now: float = 0.0) -> DeviceProfile:
        """Return what a device can do in a round, at a time in virtual seconds."""
        values = {
            name: generator.at(Moment(device, self._seed_of(device, name), number, now))
            for name, generator in self._generators.items()
        }
        return DeviceProfile(**values)

    @property
    def come_and_go(self) -> bool:
        """Whether devices leave and join; otherwise all are there from the beginning to the end."""
        return self._availability.come_and_go

    def spans(self, device: str) -> Iterator[Span]:
        """Yield when a device is there and when not, from the beginning on."""
        return self._availability.spans(device, self._seed_of(device, "availability"))

    def answers(self, device: str, number: int) -> bool:
        """Whether a device that is there can be reached in a round."""
        return self._availability.in_round(device, self._seed_of(device, "availability"), number)

    def failure(self, device: str, number: int, phase: str, now: float = 0.0) -> float | None:
        """Return after which part of an assignment, above 0 and below 1, the device fails; None: it does not."""
        seed = self._seed_of(device, "failure")
        chance = self._failures.at(Moment(device, derive_seed(seed, "probability"), number, now))
        if drawn(derive_seed(seed, number, phase)) >= chance:
            return None
        return drawn(derive_seed(seed, number, phase, "moment"))

    def traced(self) -> Mapping[str, frozenset[str]]:
        """Return the devices that traces know, by what they are traces of; those that are the same for all aside."""
        parts = {**self._generators, "failures": self._failures, "availability": self._availability}
        found = {name: part.devices for name, part in parts.items() if isinstance(part, Trace)}
        return {name: devices for name, devices in found.items() if devices is not None}

    def _seed_of(self, device: str, purpose: str) -> int:
        return derive_seed(self._seed, STREAM, device, purpose)
