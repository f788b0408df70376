"""How long an assignment takes a simulated device, and what it costs: work through speed, bytes through bandwidth."""

from collections.abc import Mapping
from dataclasses import dataclass

from openfl_like.federation.devices.profile import DeviceProfile
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.plan.schema import Plan


@dataclass(frozen=True, slots=True)
class WorkCount:
    """How much work the tasks of a plan are, in what its devices' speed counts.

    Attributes:
        batch_size: Samples in a step; None: samples are counted.
        evaluates_faster: How many times faster devices evaluate than they train.
    """

    batch_size: int | None = None
    evaluates_faster: float = 3.0

    @classmethod
    def of(cls, plan: Plan) -> "WorkCount":
        """Read it from a plan that has devices and was checked."""
        section, size = plan.simulation.devices, plan.data_loader.settings.get("batch_size")
        if section is None:
            return cls()
        return cls(size if section.unit == "steps" and isinstance(size, int) else None, section.evaluates_faster)

    def amount(self, assignment: Assignment, counts: Mapping[str, int]) -> float:
        """Return how much work an assignment is for a site with so many samples of each kind.

        A task that trains goes over what is trained on as often as its argument ``epochs`` says, once without one; any
        other task once over what is held out. To make the initial model is none.
        """
        if assignment.phase is Phase.INITIALISE:
            return 0.0
        return sum(self._task(call, counts) for call in assignment.tasks)

    def _task(self, call: TaskCall, counts: Mapping[str, int]) -> float:
        samples = counts.get("train" if call.trains else "validate", 0)
        steps = samples if self.batch_size is None else -(-samples // self.batch_size)
        return steps * passes_of(call) if call.trains else steps / self.evaluates_faster


def passes_of(call: TaskCall) -> float:
    """Return how often a task that trains goes over the site's samples."""
    epochs = call.arguments.get("epochs", 1)
    return float(epochs) if isinstance(epochs, int | float) and epochs >= 0 else 1.0


@dataclass(frozen=True, slots=True)
class Effort:
    """What a device has done of an assignment.

    Attributes:
        computing_s: Seconds in which it computed.
        sending_s: Seconds in which it received the model or sent the update.
    """

    computing_s: float = 0.0
    sending_s: float = 0.0

    def energy_j(self, profile: DeviceProfile) -> float:
        """Return what it has cost in joules."""
        return self.computing_s * profile.computing_w + self.sending_s * profile.sending_w


@dataclass(frozen=True, slots=True)
class Course:
    """How an assignment goes at a device: latency, model, tasks, latency, update, one after the other, in seconds.

    Attributes:
        latency_s: Before the model comes, and before the update goes.
        download_s: For the model.
        compute_s: For the tasks.
        upload_s: For the update.
    """

    latency_s: float
    download_s: float
    compute_s: float
    upload_s: float

    @classmethod
    def of(cls, profile: DeviceProfile, amount: float, down_bytes: int, up_bytes: int) -> "Course":
        """Return the course of so much work, with a model and an update of so many bytes."""
        return cls(
            profile.latency_s,
            down_bytes / profile.down_bytes_per_s,
            amount / profile.speed,
            up_bytes / profile.up_bytes_per_s,
        )

    @property
    def computed_s(self) -> float:
        """When the tasks are done."""
        return self.latency_s + self.download_s + self.compute_s

    @property
    def length_s(self) -> float:
        """When the update is there."""
        return self.computed_s + self.latency_s + self.upload_s

    def effort(self, seconds: float) -> Effort:
        """Return what is done after so many seconds."""
        after_latency = seconds - self.latency_s
        received = _within(after_latency, self.download_s)
        computed = _within(after_latency - self.download_s, self.compute_s)
        sent = _within(seconds - self.computed_s - self.latency_s, self.upload_s)
        return Effort(computed, received + sent)


def _within(seconds: float, most: float) -> float:
    return min(max(seconds, 0.0), most)
