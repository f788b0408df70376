"""How much each site of a round is to train: the plan's tasks say it, or a policy for each site."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from typing import Annotated, ClassVar, Literal, Protocol, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from openfl_like.federation.participation.training_history import UNKNOWN, TrainingHistory
from openfl_like.federation.seeds import derive_seed
from openfl_like.federation.task import Work

_STRICT = ConfigDict(extra="forbid")
MOST_AMOUNT = 10**9
"""Of epochs, batches or samples: what is asked of a site by mistake must not overflow anything."""
Amount = Annotated[int, Field(ge=1, le=MOST_AMOUNT)]
Which = Literal["random", "fixed"]
"""Others in every epoch, or always the same ones."""


@plain_dataclass(frozen=True, slots=True)
class WorkView:
    """What a policy goes by.

    Attributes:
        names: The cohort, sorted.
        seed: Of this round's draws.
        lasting_seed: Of draws that hold in all rounds.
        round: The number of the round.
        rounds: How many the plan has; None: no limit of them.
        histories: What sites have done, as far as it is known; empty unless the policy `remembers`.
    """

    names: Sequence[str]
    seed: int
    lasting_seed: int
    round: int
    rounds: int | None
    histories: Mapping[str, TrainingHistory] = field(default_factory=dict)

    def history(self, name: str) -> TrainingHistory:
        """What is known of a site."""
        return self.histories.get(name, UNKNOWN)


class WorkPolicy(Protocol):
    """Says how much each site trains; with ``remembers = True`` on its class it is shown what sites have done."""

    def assign(self, view: WorkView) -> Mapping[str, Work]:
        """Return the work of each site; one that is left out trains as the plan's tasks say."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class TasksAlone:
    """Every site trains as the plan's tasks say."""

    def assign(self, view: WorkView) -> Mapping[str, Work]:  # noqa: ARG002 - nobody is given anything
        """Nothing besides."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class WorkAmount:
    """An amount of work.

    Attributes:
        epochs: So many times over the samples; at most one of this and ``batches``.
        batches: So many batches, in as many epochs as that takes.
        samples: In each epoch only so many samples, rounded up to whole batches.
        which: Which samples these are: ``random``, others in every epoch, or ``fixed``, the same ones in all rounds.
    """

    epochs: Amount | None = None
    batches: Amount | None = None
    samples: Amount | None = None
    which: Which = "random"

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if self.epochs is not None and self.batches is not None:
            raise ValueError("give epochs or batches, not both")  # pydantic turns this into its own error
        if (self.epochs, self.batches, self.samples) == (None, None, None):
            raise ValueError("give epochs, batches or samples")
        if self.which == "fixed" and self.samples is None:
            raise ValueError("which: fixed says which samples, and there is no number of samples")
        return self

    def of(self, name: str, view: WorkView) -> Work:
        """Return the work of a site."""
        return Work(self.epochs, self.batches, self.samples, _sample_seed(self.which, name, view))


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class StaticWork(WorkAmount):
    """The same amount in every round, for all sites or for each its own.

    Attributes:
        epochs: So many times over the samples; at most one of this and ``batches``.
        batches: So many batches, in as many epochs as that takes.
        samples: In each epoch only so many samples, rounded up to whole batches.
        which: Which samples these are: ``random``, others in every epoch, or ``fixed``, the same ones in all rounds.
        sites: Site -> its own amount, in place of all the keys above.
    """

    sites: Mapping[str, WorkAmount] = field(default_factory=dict)

    def assign(self, view: WorkView) -> Mapping[str, Work]:
        """What the settings say."""
        return {name: self.sites.get(name, self).of(name, view) for name in view.names}


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class UniformWork:
    """An amount that is drawn for each site, anew in every round: all from the least to the most are equally likely.

    Attributes:
        unit: What is drawn: ``epochs``, ``batches`` or ``samples``.
        least: The least.
        most: The most.
        which: Which samples these are, if the unit is ``samples``: see `StaticWork`.
    """

    unit: Literal["epochs", "batches", "samples"] = "epochs"
    least: Amount
    most: Amount
    which: Which = "random"

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError("least is more than most")  # pydantic turns this into its own error
        if self.which == "fixed" and self.unit != "samples":
            raise ValueError("which: fixed says which samples, and the unit is not samples")
        return self

    def assign(self, view: WorkView) -> Mapping[str, Work]:
        """Draw for each name from the round's seed."""
        return {name: self._drawn(name, view) for name in view.names}

    def _drawn(self, name: str, view: WorkView) -> Work:
        amount = self.least + derive_seed(view.seed, name) % (self.most - self.least + 1)
        if self.unit == "samples":
            return Work(samples=amount, sample_seed=_sample_seed(self.which, name, view))
        return Work(epochs=amount) if self.unit == "epochs" else Work(batches=amount)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class _TimedWork:
    """Batches by how fast a site was: those of its remembered trainings through the seconds that it says they took."""

    remembers: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class EqualTime(_TimedWork):
    """As many batches as a site trains in a given time, so that all compute equally long, and the fast see more.

    Attributes:
        seconds: So long each is to train.
        first: Batches of a site of which no training is known.
        least: Batches that every site trains.
        most: Batches that no site exceeds.
    """

    seconds: Annotated[float, Field(gt=0)]
    first: Amount = 10
    least: Amount = 1
    most: Amount = MOST_AMOUNT

    def assign(self, view: WorkView) -> Mapping[str, Work]:
        """By each site's own speed."""
        return {name: Work(batches=self._batches(view.history(name))) for name in view.names}

    def _batches(self, history: TrainingHistory) -> int:
        speed = batches_per_s(history)
        return self.first if speed is None else _within(self.seconds * speed, self.least, self.most)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BestRoundTime(_TimedWork):
    """The round of the fastest site for all: others train as many batches as they can in its time.

    Attributes:
        batches: What the fastest site of the cohort trains, and every site of which no training is known.
        least: Batches that every site trains.
    """

    batches: Amount
    least: Amount = 1

    def assign(self, view: WorkView) -> Mapping[str, Work]:
        """By how fast each is beside the fastest one that is known."""
        speeds = {name: batches_per_s(view.history(name)) for name in view.names}
        fastest = max((speed for speed in speeds.values() if speed is not None), default=None)
        return {name: Work(batches=self._batches(speeds[name], fastest)) for name in view.names}

    def _batches(self, speed: float | None, fastest: float | None) -> int:
        if speed is None or fastest is None:
            return self.batches
        return _within(self.batches * (speed / fastest), min(self.least, self.batches), self.batches)


def batches_per_s(history: TrainingHistory) -> float | None:
    """Return how many batches a site trains in a second, by its own account; None if it has told of none."""
    known = [each for each in history.trainings if each.batches > 0 and each.training_s > 0]
    seconds = math.fsum(each.training_s for each in known)
    return sum(each.batches for each in known) / seconds if known else None


def _within(amount: float, least: int, most: int) -> int:
    return max(least, math.floor(min(amount, most)))


def _sample_seed(which: Which, name: str, view: WorkView) -> int | None:
    return derive_seed(view.lasting_seed, name, "samples") if which == "fixed" else None
