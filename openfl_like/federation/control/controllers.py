"""The controllers that come with the platform."""

import math
import sys
from statistics import fmean
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from openfl_like.federation.control.decision import (
    Control,
    ControlView,
    EndExperiment,
    SetArgument,
    SkipSite,
    WeighSite,
)

_STRICT = ConfigDict(extra="forbid")
_NUMBER = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, config=_STRICT)
class ScheduleStep:
    """A value that holds from a round on.

    Attributes:
        round: The first round in which it holds.
        value: The value, any JSON value.
    """

    round: Annotated[int, Field(ge=1)]
    value: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Schedule:
    """Change an argument of a task from round to round: a learning rate that falls, epochs that become fewer.

    Either ``steps`` says from which round on which value holds; before the first the plan's own argument does. Or the
    value goes from ``first`` to ``last`` within ``over`` rounds, and stays there. With p the part of the way that is
    done, from 0 in round 1 to 1 in round ``over``, it is ``first + (last - first) p`` (``linear``),
    ``last + (first - last) (1 + cos(pi p)) / 2`` (``cosine``; Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5
    without restarts), or ``first (last / first)^p`` (``exponential``).

    Attributes:
        task: The task.
        argument: Its keyword argument, such as ``learning_rate`` or ``epochs``.
        steps: Rounds in rising order, each with its value.
        shape: How the value changes, without steps.
        first: The value in round 1.
        last: The value from round ``over`` on.
        over: How many rounds the way takes; None: all of the plan.
        whole: Whether the value is rounded to a whole number, as epochs must be.
    """

    task: str = "train"
    argument: str
    steps: tuple[ScheduleStep, ...] = ()
    shape: Literal["linear", "cosine", "exponential"] | None = None
    first: _NUMBER | None = None
    last: _NUMBER | None = None
    over: Annotated[int, Field(ge=2)] | None = None
    whole: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        """Refuse what is not one schedule; pydantic turns a ValueError into its own error."""
        ends = (self.first, self.last)
        if bool(self.steps) is (self.shape is not None):
            raise ValueError("give either steps, or shape with first and last")
        if self.steps and (ends != (None, None) or self.over is not None or self.whole):
            raise ValueError("first, last, over and whole go with shape")
        if self.shape is not None and None in ends:
            raise ValueError("shape needs first and last")
        rounds = [step.round for step in self.steps]
        if rounds != sorted(set(rounds)):
            raise ValueError("the rounds of steps must rise")
        if self.shape == "exponential" and not (self.first or 0) * (self.last or 0) > 0:
            raise ValueError("an exponential schedule needs first and last of the same sign, and neither of them 0")
        return self

    def decide(self, view: ControlView) -> Control:
        """Set the argument of the round."""
        if not self.steps:
            return Control((SetArgument(self.task, self.argument, self._between(view)),))
        due = [step for step in self.steps if step.round <= view.round]
        return Control((SetArgument(self.task, self.argument, due[-1].value),) if due else ())

    def _between(self, view: ControlView) -> float:
        first, last, over = self.first or 0.0, self.last or 0.0, self.over or view.rounds or 1
        part = min(1.0, (view.round - 1) / (over - 1)) if over > 1 else 0.0
        if self.shape == "linear":
            value = first + (last - first) * part
        elif self.shape == "cosine":
            value = last + (first - last) * (1 + math.cos(math.pi * part)) / 2
        else:
            value = first * (last / first) ** part
        return round(value) if self.whole else value


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class EndIfDiverged:
    """End the experiment when its model has become much worse than it was: the best version is kept.

    Attributes:
        metric: A metric of the versions.
        factor: So many times the lowest value so far is too much; for metrics of which less is better, and that are
            above 0.
        rounds: In so many rounds in a row.
    """

    metric: str = "loss"
    factor: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 3.0
    rounds: Annotated[int, Field(ge=1)] = 3

    def decide(self, view: ControlView) -> Control:
        """Look at the newest versions that have the metric."""
        values = [version.metrics[self.metric] for version in view.versions if self.metric in version.metrics]
        if len(values) <= self.rounds:
            return Control()
        best, newest = min(values), values[-self.rounds :]
        if best <= 0 or min(newest) <= self.factor * best:
            return Control()
        told = f"{self.metric} was above {self.factor:g} times its best, {best:.4g}, for {self.rounds} rounds"
        return Control((EndExperiment(told),))


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class SkipUnreliable:
    """Leave sites out for some rounds that did not answer several times in a row, so that nobody waits for them.

    A site that comes back after that is asked again; one more round without its answer, and it is left out anew.

    Attributes:
        misses: So many rounds in a row in which it was asked to train and no update of it was taken.
        rounds: For so many rounds it is left out.
    """

    remembers: ClassVar[bool] = True

    misses: Annotated[int, Field(ge=1)] = 3
    rounds: Annotated[int, Field(ge=1)] = 5

    def decide(self, view: ControlView) -> Control:
        """Skip those whose rounds are not over, and those who have missed once more."""
        before, now = _left_out(view.state), dict[str, _LeftOut]()
        for name in view.members:
            missed, known = view.history(name).missed, before.get(name)
            if known is not None and missed >= known.missed and (view.round <= known.until or missed == known.missed):
                now[name] = known  # it has not been asked since, or not yet
            elif missed >= self.misses:
                now[name] = _LeftOut(view.round + self.rounds - 1, missed)
        told = f"{self.misses} rounds in a row without its update"
        skipped = tuple(SkipSite(name, told) for name in sorted(now) if view.round <= now[name].until)
        return Control(skipped, {name: [one.until, one.missed] for name, one in sorted(now.items())})


class _LeftOut(NamedTuple):
    """Until which round a site is left out, and how many rounds it had missed in a row by then."""

    until: int
    missed: int


_LEFT_OUT = TypeAdapter(dict[str, _LeftOut])


def _left_out(state: JsonValue) -> dict[str, _LeftOut]:
    return _LEFT_OUT.validate_python(state or {})


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class FairWeights:
    """Let sites count more on whose data the model is worse, so that it becomes as good for all.

    A site's weight is multiplied by ``(loss / mean)^q``, with its last training's loss and the mean of those of all
    sites, bounded by ``most`` and its inverse. This is the idea of q-FFL (Li et al. 2020, arXiv:1905.10497, equation
    2), whose gradient weighs each site by ``F_k^q``. Deviations: weights only, without the paper's estimate of the
    step (its algorithm 2); numbers of samples stay in the weights; and the loss is what the site told of its last
    training, not that of the present model. A site that lies about its loss gains weight, up to ``most``.

    Attributes:
        q: How much it matters; 0 is nothing.
        most: The largest factor.
    """

    remembers: ClassVar[bool] = True

    q: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    most: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 5.0

    def decide(self, view: ControlView) -> Control:
        """Weigh the sites whose loss is known."""
        losses = {
            name: last.loss
            for name in view.members
            if (last := view.history(name).last) is not None and last.loss is not None and last.loss > 0
        }
        if len(losses) <= 1:
            return Control()
        mean = fmean(losses.values())
        return Control(tuple(WeighSite(name, self._factor(loss / mean)) for name, loss in sorted(losses.items())))

    def _factor(self, ratio: float) -> float:
        least = sys.float_info.min  # a site may tell a loss that is nothing beside those of others
        steps = max(-math.log(self.most), min(math.log(self.most), self.q * math.log(max(ratio, least))))
        return math.exp(steps)
