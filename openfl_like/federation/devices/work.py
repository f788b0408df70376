"""How long an assignment takes a simulated device, and what it costs: work through speed, bytes through bandwidth."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from openfl_like.federation.devices.profile import DeviceProfile
from openfl_like.federation.task import Assignment, Phase, TaskCall, Work
from openfl_like.plan.schema import Plan


@dataclass(frozen=True, slots=True)
class WorkCount:
    """How much work the tasks of a plan are, in what its devices' speed counts.

    Attributes:
        batch_size: Samples in a step; None: samples are counted.
        evaluates_faster: How many times faster devices evaluate than they train.
        loaded: Samples in a batch, as the data loader's settings have it; None: they do not say.
    """

    batch_size: int | None = None
    evaluates_faster: float = 3.0
    loaded: int | None = None

    @classmethod
    def of(cls, plan: Plan) -> "WorkCount":
        """Read it from a plan that has devices and was checked."""
        section, size = plan.simulation.devices, plan.data_loader.settings.get("batch_size")
        if section is None:
            return cls()
        loaded = size if isinstance(size, int) else None
        return cls(loaded if section.unit == "steps" else None, section.evaluates_faster, loaded)

    def amount(self, assignment: Assignment, counts: Mapping[str, int]) -> float:
        """Return how much work an assignment is for a site with so many samples of each kind.

        A task that trains goes over what is trained on as often as its argument ``epochs`` says, once without one, or
        does the work that the assignment gives it; any other task goes once over what is held out. To make the initial
        model is none.
        """
        if assignment.phase is Phase.INITIALISE:
            return 0.0
        limit = math.inf if assignment.batch_limit is None else assignment.batch_limit
        trained = 0.0
        for each in self._passes(assignment, counts):
            batches = min(each.batches, max(1.0, limit))
            limit -= batches
            trained += self._units(each, batches)
        evaluations = sum(not call.trains for call in assignment.tasks)
        held_out = counts.get("validate", 0)
        steps = held_out if self.batch_size is None else -(-held_out // self.batch_size)
        return trained + evaluations * steps / self.evaluates_faster

    def limited(self, assignment: Assignment, counts: Mapping[str, int], speed: float) -> Assignment:
        """Return an assignment whose ``train_s`` has become the number of batches that a device trains until then.

        The batch that it is at when the time is over is trained to its end. There is no limit if it is done before.
        """
        if assignment.train_s is None or self.loaded is None:
            return replace(assignment, train_s=None)
        left, before = assignment.train_s * speed, 0.0
        for each in self._passes(assignment, counts):
            fitting = max(1, each.fitting(left, self.batch_size is not None))
            if fitting < each.batches:
                return replace(assignment, train_s=None, batch_limit=int(before) + fitting)
            before += each.batches
            left -= self._units(each, each.batches)
        return replace(assignment, train_s=None)

    def _passes(self, assignment: Assignment, counts: Mapping[str, int]) -> list["_Passes"]:
        tasks, size = (call for call in assignment.tasks if call.trains), self.loaded or self.batch_size
        return [_Passes.of(call, counts.get("train", 0), size, assignment.work) for call in tasks]

    def _units(self, passes: "_Passes", batches: float) -> float:
        return batches if self.batch_size is not None else passes.samples_of(batches)


@dataclass(frozen=True, slots=True)
class _Passes:
    """A task that trains, as passes over samples.

    Attributes:
        samples: In a pass.
        size: Of a batch; a pass is one if nobody says.
        batches: All.
    """

    samples: int
    size: int
    batches: float

    @classmethod
    def of(cls, call: TaskCall, samples: int, size: int | None, work: Work | None) -> "_Passes":
        """Return what a task comes to at a site with so many samples."""
        if work is not None and work.samples is not None:
            whole = work.samples if size is None else -(-work.samples // size) * size
            samples = min(samples, whole)
        size = max(1, samples if size is None else size)
        if work is not None and work.batches is not None:
            return cls(samples, size, float(work.batches) if samples else 0.0)
        passes = passes_of(call) if work is None or work.epochs is None else work.epochs
        return cls(samples, size, passes * -(-samples // size))

    def samples_of(self, batches: float) -> float:
        """Return how many samples so many batches have, from the first one on: the last one of a pass may be small."""
        passes, rest = divmod(batches, max(1, -(-self.samples // self.size)))
        return passes * self.samples + min(rest * self.size, self.samples)

    def fitting(self, units: float, in_steps: bool) -> int:  # noqa: FBT001 - it says what the first argument counts
        """Return how many batches have begun when so many steps, or samples, are done."""
        if in_steps or not self.samples:
            return math.ceil(units)
        passes, rest = divmod(units, self.samples)
        return int(passes) * -(-self.samples // self.size) + math.ceil(rest / self.size)


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
