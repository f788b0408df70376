"""Parts that decide: who is asked in a round, and how long it trains.

They see values, never a clock, and draw nothing at random but from the seed that they are shown; what they have to
remember they give back as state. So an experiment that is resumed goes on as if nothing had been.
"""

from collections.abc import Sequence
from typing import ClassVar

from openfl_like.federation.control.decision import Control, ControlView, SetArgument
from openfl_like.federation.participation.selection import SelectionView


class LeastAsked:
    """A selector: those that were asked to train least often, so that all come round.

    Args:
        count: So many in a round.
    """

    remembers: ClassVar[bool] = True  # it is shown what sites have done

    def __init__(self, count: int) -> None:
        self.count = count

    def wanted(self, view: SelectionView) -> int:
        """How many updates a round should have."""
        return min(self.count, len(view.eligible))

    def eligible(self, names: Sequence[str]) -> Sequence[str]:
        """Everybody may be chosen."""
        return names

    def select(self, view: SelectionView) -> tuple[str, ...]:
        """Choose of those that are here; the name decides between two that were asked as often."""
        by_turns = sorted(view.present, key=lambda name: (view.history(name).asked, name))
        return tuple(sorted(by_turns[: view.count]))


class MoreWhenStuck:
    """A controller: sites train one epoch more after every round that did not lower the loss.

    Args:
        task: The task that trains.
        epochs: So many at first.
        most: Never more than this.
        metric: What should fall.
    """

    def __init__(self, task: str, epochs: int, most: int, metric: str = "loss") -> None:
        self.task, self.epochs, self.most, self.metric = task, epochs, most, metric

    def decide(self, view: ControlView) -> Control:
        """Compare the last two versions; the state is how many epochs there are now."""
        now = self.epochs if not isinstance(view.state, int) else view.state
        known = [version.metrics[self.metric] for version in view.versions if self.metric in version.metrics]
        if len(known) > 1 and known[-1] >= known[-2]:
            now = min(now + 1, self.most)
        return Control((SetArgument(self.task, "epochs", now),), now)
