"""The state of one round: how far it is, who was asked, who answered, who will not."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.round_control import UNCONTROLLED, RoundControl
from openfl_like.federation.task import Phase, Update, Work
from openfl_like.federation.validation.scoring import Scoring
from openfl_like.federation.validation.verdict import UpdateVerdict, counted_less, shares_of

WAYS_OUT = (
    "fx experiment resume goes on with the round; "
    "deadline.rejoin_s waits longer for a site, participation.policy quorum or skip goes on without it"
)
"""What is to be done about a site that did not come back in time."""


class Step(StrEnum):
    """How far the open phase of a round is.

    Attributes:
        GATHER: Too few collaborators are here to begin.
        COLLECT: Assignments are out.
        VALIDATE: The updates are being checked.
        PLACE: The updates are being placed where other sites can fetch them, to score them.
        AGGREGATE: The updates are being combined.
    """

    GATHER = "gather"
    COLLECT = "collect"
    VALIDATE = "validate"
    PLACE = "place"
    AGGREGATE = "aggregate"


@dataclass(slots=True)
class RoundState:
    """One round.

    Attributes:
        number: 0 makes the initial model.
        started: When it began, on the clock of the events.
        base: Identity of the global model it began with; empty in round 0.
        phase: The open phase.
        step: How far that is.
        waiting: Whether the timer of the step ``gather`` runs.
        eligible: From how many collaborators the selector chose.
        wanted: How many updates the selector would like.
        quorum: How many are needed.
        assigned: Who was asked in the open phase, sorted.
        updates: The answers in the open phase.
        absent: Who will not answer in the open phase, and why.
        trained: The updates that made the new model.
        missed: Who did not contribute to it, and why.
        selected: Who was asked to contribute, sorted.
        digest: Identity of the new model, once there is one.
        base_state: Identity of the server's state that belongs to the model it began with; empty: none.
        server_state: Identity of the server's state that belongs to the new model; empty: none.
        opened: When the open phase began, on the clock of the events, or the process that drives it now.
        heard: When the last answer of the open phase came, or it began.
        limit_s: How long a site may take for its tasks of the open phase; None: of a snapshot that knew no limit.
        work: How much those are to train that do not go by the tasks alone; the same however often they are asked.
        verdicts: What was made of the updates that train the model.
        control: What controllers have decided for it.
        scoring: The cross evaluation of its updates, as long as it goes on.
    """

    number: int
    started: float
    base: str
    phase: Phase
    step: Step = Step.GATHER
    waiting: bool = False
    eligible: int = 0
    wanted: int = 1
    quorum: int = 1
    assigned: tuple[str, ...] = ()
    updates: dict[str, Update] = field(default_factory=dict)
    absent: dict[str, Failure] = field(default_factory=dict)
    trained: dict[str, Update] = field(default_factory=dict)
    missed: dict[str, Failure] = field(default_factory=dict)
    selected: tuple[str, ...] = ()
    digest: str = ""
    base_state: str = ""
    server_state: str = ""
    opened: float = 0.0
    heard: float = 0.0
    limit_s: float | None = None
    work: dict[str, Work] = field(default_factory=dict)
    verdicts: tuple[UpdateVerdict, ...] = ()
    control: RoundControl = UNCONTROLLED
    scoring: Scoring | None = None

    @property
    def pending(self) -> tuple[str, ...]:
        """Who may still answer in the open phase, sorted."""
        if self.step is not Step.COLLECT:
            return ()
        return tuple(name for name in self.assigned if name not in self.updates and name not in self.absent)

    @property
    def model(self) -> str:
        """Identity of the model that the open phase works on."""
        return self.digest or self.base

    @property
    def deadline_timer(self) -> str:
        """Name of the timer that ends the open phase; every attempt at an initial model has its own."""
        attempt = f":{self.assigned[0]}" if self.phase is Phase.INITIALISE else ""
        return f"deadline:{self.number}:{self.phase}{attempt}"

    @property
    def gather_timer(self) -> str:
        """Name of the timer that ends the wait for enough collaborators."""
        return f"gather:{self.number}"

    def awaits(self, name: str) -> bool:
        """Whether this collaborator may still answer in the open phase."""
        open_ = self.step is Step.COLLECT and name not in self.updates and name not in self.absent
        return open_ and self._asked(name)

    @property
    def awaited(self) -> int:
        """How many may still answer in the open phase."""
        if self.step is not Step.COLLECT:
            return 0
        return len(self.assigned) - len(self.updates) - sum(map(self._asked, self.absent))

    def _asked(self, name: str) -> bool:
        place = bisect_left(self.assigned, name)
        return place < len(self.assigned) and self.assigned[place] == name

    def answers(self) -> tuple[Update, ...]:
        """The updates of the open phase, sorted by collaborator."""
        return tuple(self.updates[name] for name in sorted(self.updates))

    def learned(self) -> tuple[Update, ...]:
        """Of the answers, those of sites that had samples, as they count; an initial model needs none."""
        found = (update for update in self.answers() if update.num_samples or self.phase is Phase.INITIALISE)
        return tuple(self._as_counted(update) for update in found)

    def _as_counted(self, update: Update) -> Update:
        """Return an update with the samples that it counts with."""
        return counted_less(update, self.verdicts)

    def open(self, phase: Phase, names: tuple[str, ...], now: float, limit_s: float) -> None:
        """Begin to collect the answers of a phase."""
        self.phase, self.step, self.waiting = phase, Step.COLLECT, False
        self.assigned, self.updates = tuple(sorted(names)), {}
        self.opened = self.heard = now
        self.limit_s = limit_s

    def keep(self, digest: str, server_state: str) -> None:
        """Note the new model and the updates that made it, and clear the table for the next phase."""
        self.digest, self.server_state = digest, server_state
        self.trained = {name: self._as_counted(update) for name, update in self.updates.items()}
        self.missed = self.absent
        self.updates, self.absent = {}, {}

    def expects(self, number: int, phase: Phase, name: str) -> bool:
        """Whether this collaborator's answer to this assignment is still awaited."""
        return (number, phase) == (self.number, self.phase) and self.awaits(name)

    def objection(self, update: Update) -> str:
        """Say why an unexpected update is not taken."""
        name = update.collaborator
        if (update.round, update.phase) != (self.number, self.phase):
            return f"the phase '{update.phase}' of round {update.round} is not open"
        if name in self.updates:
            return "another update was taken before"
        if name in self.absent:
            return f"the site {self.absent[name]}"
        return "it was not asked for"

    def shortfall(self, coming: int, selector: str = "the selector") -> str:
        """Say why the quorum cannot be reached with so many updates; empty if it can."""
        if coming >= self.quorum:
            return ""
        if self.step is Step.GATHER and not self.eligible:
            return f"round {self.number}: {self._nobody}"
        if self.eligible and not self.wanted:
            return f"round {self.number}: {selector} chooses none of {self.eligible} collaborators (selector.settings)"
        if wants_too_few(self):
            told = f"{selector} chooses {self.wanted} of {self.eligible} collaborators, and {self.quorum} are needed"
            return f"round {self.number}: {told} (selector.settings, participation)"
        if chose_too_few(self, coming):
            here = self.eligible - len(self.absent)
            who = f"{coming or 'nobody'} of {here} who {'is' if here == 1 else 'are'} here"
            needed = f"{self.quorum} {'is' if self.quorum == 1 else 'are'} needed"
            return f"round {self.number}: {selector} chose {who}, and {needed}"
        verb = "is" if self.quorum == 1 else "are"
        text = f"round {self.number}: {self.quorum} of {self.wanted} updates {verb} needed, {coming} can come"
        text = f"{text}: {list_absences(self.absent)}" if self.absent else text
        late = any(failure.kind is FailureKind.NOT_BACK for failure in self.absent.values())
        return f"{text} ({WAYS_OUT})" if late else text

    @property
    def _nobody(self) -> str:
        if self.control.skipped:
            return f"controllers skip all sites that could train: {', '.join(sorted(self.control.skipped)[:10])}"
        return "no collaborator may be asked to train (assigner.settings, selector.settings)"

    def losses(self) -> dict[str, Failure]:
        """Who should have contributed and did not, sorted -> why; without training, to the evaluation."""
        if not self.trained:
            return self._placed(self.absent, self.phase)
        return self._placed(self.missed, Phase.TRAIN if self.number else Phase.INITIALISE)

    def unevaluated(self) -> dict[str, Failure]:
        """Who should have evaluated the round's model and did not, sorted -> why."""
        return self._placed(self.absent, self.phase) if self.phase is Phase.EVALUATE else {}

    def _placed(self, absent: Mapping[str, Failure], phase: Phase) -> dict[str, Failure]:
        return {name: replace(absent[name], site=name, round=self.number, phase=phase) for name in sorted(absent)}


def model_for(state: RoundState, name: str) -> str:
    """Identity of the model that a site works on in the open phase: that of all, or the update that it scores."""
    if state.scoring is None or state.phase is not Phase.CROSS_EVALUATE:
        return state.model
    return state.scoring.models[state.scoring.pairs[name]]


def own_update(state: RoundState, name: str) -> Update | None:
    """The update that a site which measures models has trained in this round, if it is there."""
    if state.phase is Phase.EVALUATE:
        return state.trained.get(name)
    return state.scoring.updates.get(name) if state.scoring is not None else None


def weights_in(state: RoundState) -> dict[str, float]:
    """What the samples of some updates are multiplied by: what controllers say, and what their scores say."""
    shares, controlled = shares_of(state.verdicts), state.control.weights
    both = {name: controlled.get(name, 1.0) * shares.get(name, 1.0) for name in {**controlled, **shares}}
    return {name: both[name] for name in sorted(both)}


def wants_too_few(state: RoundState) -> bool:
    """Whether the selector wants fewer updates than the round needs, although there are members enough."""
    return state.wanted < state.quorum <= state.eligible


def chose_too_few(state: RoundState, coming: int) -> bool:
    """Whether the selector has chosen fewer than the round needs of those who are here, and who are enough."""
    here = state.eligible - len(state.absent)
    return wants_too_few(state) or (state.step is Step.GATHER and coming < state.quorum <= here)


def list_absences(absent: Mapping[str, Failure]) -> str:
    """Name every absent site with its reason in one line."""
    return "; ".join(f"site '{name}' {absent[name]}" for name in sorted(absent))
