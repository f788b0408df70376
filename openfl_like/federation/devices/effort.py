"""What a round asks of simulated devices: seconds, joules, and who does not answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from openfl_like.federation.devices.profile import DeviceProfile
from openfl_like.federation.devices.work import Effort
from openfl_like.federation.task import DevicesWorked


@dataclass(slots=True)
class DeviceEffort:
    """What a round has asked of one device.

    Attributes:
        began: When it was asked first.
        profile: What it is like, as of the last assignment.
        busy_s: Seconds in which it computed, sent or received.
        energy_j: Joules that this took.
        gone: When it left; None: it is there.
        away_s: How long it was away.
    """

    began: float
    profile: DeviceProfile
    busy_s: float = 0.0
    energy_j: float = 0.0
    gone: float | None = None
    away_s: float = 0.0

    def add(self, effort: Effort) -> None:
        """Add what it has done of an assignment."""
        self.busy_s += effort.computing_s + effort.sending_s
        self.energy_j += effort.energy_j(self.profile)

    def back(self, now: float) -> None:
        """Notice that it is there again."""
        if self.gone is not None:
            self.away_s, self.gone = self.away_s + now - self.gone, None

    def total_j(self, now: float) -> float:
        """Return the joules of the round, in which it was idle whenever it was there and not busy."""
        self.back(now)
        idle_s = max(0.0, now - self.began - self.away_s - self.busy_s)
        return self.energy_j + idle_s * self.profile.idle_w


@dataclass(slots=True)
class RoundEffort:
    """What a round has asked of all devices that were asked.

    Attributes:
        devices: Device -> what it has done.
        late: Who did not answer in time.
        failed: Who failed.
        unavailable: Who was asked and away.
        away: How many were not there when the round began.
    """

    devices: dict[str, DeviceEffort] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    unavailable: set[str] = field(default_factory=set)
    away: int = 0

    def __bool__(self) -> bool:
        """Whether any was asked."""
        return bool(self.devices)

    def begin(self, device: str, now: float, profile: DeviceProfile) -> None:
        """Notice that a device is given an assignment."""
        if device in self.devices:
            self.devices[device].profile = profile
        else:
            self.devices[device] = DeviceEffort(now, profile)

    def add(self, device: str, effort: Effort) -> None:
        """Add what a device has done of an assignment."""
        self.devices[device].add(effort)

    def gone(self, device: str, now: float) -> None:
        """Notice that a device has left."""
        if device in self.devices:
            self.devices[device].gone = now

    def back(self, device: str, now: float) -> None:
        """Notice that a device is there again."""
        if device in self.devices:
            self.devices[device].back(now)

    def told(self, number: int, now: float, running: Mapping[str, float] | None = None) -> DevicesWorked:
        """Return what is told of the round when it ends.

        Args:
            number: Its number.
            now: When that is.
            running: Devices whose work goes on -> when that began: what they have done since is told later.
        """
        until = {name: (running or {}).get(name, now) for name in self.devices}
        names = sorted(
            name for name, end in until.items() if name not in (running or {}) or self.devices[name].began < end
        )
        return DevicesWorked(
            round=number,
            energy_j={name: self.devices[name].total_j(until[name]) for name in names},
            busy_s={name: self.devices[name].busy_s for name in names},
            late=tuple(sorted(self.late)),
            failed=tuple(sorted(self.failed)),
            unavailable=tuple(sorted(self.unavailable)),
            away=self.away,
        )
