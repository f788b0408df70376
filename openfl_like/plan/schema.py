"""The plan as frozen values: what all parties of an experiment agreed on."""

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)
from pydantic import Tag as UnionTag

from openfl_like import registry
from openfl_like.plan.address import checked_host
from openfl_like.plan.mode import Mode
from openfl_like.plan.names import TAG_PATTERN
from openfl_like.plan.section import (
    BY_TYPE,
    OF_VALUES,
    OF_WORDS,
    AlgorithmSection,
    Component,
    Name,
    Section,
    Settings,
    named_only,
)
from openfl_like.plan.simulation import SimulationSection

FILE = "file:"
"""Before the path of a model in the workspace, in a task's ``apply``."""
PERSONAL = "personal"
"""In a task's ``apply``: the model that the algorithm keeps at each site."""
NO_ALGORITHM = "none"
"""The template of ``algorithm`` that trains as the task runner does by itself."""
TASKS_ALONE = "none"
"""The template of ``work`` by which every site trains as the tasks say."""
REJOIN_S = 60.0
"""Four times one pause between two attempts to connect (5 s) and one attempt (10 s): a cable that is out for 40 s."""

GRACE_S = 10.0
"""The shortest time that a batch, and what follows training, may take after ``deadline.train_s``, if it is not said."""


class CompressionPipeline(Component):
    """The ``compression_pipeline:`` section: how elements are stored, then how that is packed without loss."""

    template: str = "none"
    lossless: Component = Component(template="none")


class AggregatorSettings(Section):
    """Settings of the Aggregator; ``init_state_path`` names an initial model file inside the workspace."""

    rounds_to_train: Annotated[
        Annotated[int, Field(ge=1), UnionTag(OF_VALUES)] | Annotated[Literal["unlimited"], UnionTag(OF_WORDS)], BY_TYPE
    ] = 10
    init_state_path: str | None = None

    @property
    def rounds(self) -> int | None:
        """How many rounds there are at most; None: only the rules of ``stop`` end the experiment."""
        return None if self.rounds_to_train == "unlimited" else self.rounds_to_train


class AggregatorSection(Section):
    """The ``aggregator:`` section."""

    settings: AggregatorSettings = AggregatorSettings()


DEVICE = re.compile(r"cpu|cuda(:(0|[1-9]\d{0,2}))?")
"""How a device is named."""


def _wished_device(value: object) -> object:
    listed = isinstance(value, list | tuple)
    names = value if isinstance(value, list | tuple) else (value,)
    fine = [isinstance(name, str) and bool(DEVICE.fullmatch(name)) for name in names]
    if value != "auto" and not (fine and all(fine)):
        shown = "an entry" if listed and fine else "it"
        raise ValueError(f"must be auto, cpu, cuda, cuda:0, cuda:1 … or a list of such devices; {shown} is not")
    return value


class CollaboratorSettings(Section):
    """Settings of every Collaborator's worker.

    ``device`` is ``cpu``, ``cuda`` (any GPU), ``cuda:1``, ``auto`` (a GPU, or else the CPU), or a list of which the
    first that the site gives is taken.
    ``delta_updates`` says whether compressed updates are differences to the global model; none: all but those of the
    template ``none`` are.
    """

    opt_treatment: Literal["RESET", "CONTINUE_LOCAL", "CONTINUE_GLOBAL"] = "RESET"
    device: Annotated[str | tuple[str, ...], BeforeValidator(_wished_device)] = "cpu"
    threads: Annotated[int, Field(ge=1)] = 1
    delta_updates: bool | None = None


class CollaboratorSection(Section):
    """The ``collaborator:`` section."""

    settings: CollaboratorSettings = CollaboratorSettings()


TRAINS = {"train": True, "validate": False}
"""Functions of which everybody knows whether they train."""


MOST_TASK_METRICS = 32


class MetricChoice(Component):
    """A metric that a task measures: its template, and under which name; none: the template's own."""

    name: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: object) -> object:
        return named_only(values)

    @property
    def published(self) -> str:
        """The name of its values."""
        return self.name or self.template.rpartition(":")[2]


class Task(Section):
    """A task of the plan: a function of the task runner and its keyword arguments.

    ``trains`` says whether it changes the model; None: it is not said, which only plans of 0.1 may leave open.
    ``metrics`` are what is measured besides the loss; none: what fits the targets, see docs/evaluation.md.
    ``kwargs.apply`` says which model an evaluation looks at: ``global`` (the new global model), ``local`` (the model
    this site has just trained), ``personal`` (the one that the algorithm keeps at this site) or ``file:PATH`` (a model
    file of the workspace).
    """

    function: str
    trains: bool | None = None
    kwargs: Settings = Field(default_factory=dict)
    metrics: Annotated[tuple[MetricChoice, ...], Field(max_length=MOST_TASK_METRICS)] = ()

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: object) -> object:
        if not isinstance(values, dict) or values.get("trains") is not None:
            return values
        function = values.get("function")
        return {**values, "trains": TRAINS.get(function) if isinstance(function, str) else None}

    @property
    def is_training(self) -> bool:
        """Whether it changes the model; until 0.1 every function but ``validate`` did."""
        return self.trains is not False

    @property
    def apply(self) -> str:
        """``global``, ``local``, or ``file:`` and a path."""
        return str(self.kwargs.get("apply", "global"))

    @property
    def of_file(self) -> bool:
        """Whether it looks at a model file of the workspace."""
        return self.apply.startswith(FILE)

    @property
    def arguments(self) -> Settings:
        """The keyword arguments that the function itself receives."""
        return {key: value for key, value in self.kwargs.items() if key != "apply"}


class Admission(Section):
    """Who may take part and how long to wait for them.

    Attributes:
        collaborators: The sites asked; empty means every authorised one.
        min_collaborators: How many must be there; default: all of ``collaborators``, or 1.
        timeout_s: Seconds to wait for them.
        late_join: From which round on a site takes part that comes later; ``current_round``: if that still trains.
    """

    collaborators: tuple[Name, ...] = ()
    min_collaborators: Annotated[int, Field(ge=1)] | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    late_join: Literal["current_round", "next_round", "deny"] = "next_round"


class Participation(Section):
    """How many of those who were selected a round needs.

    Attributes:
        policy: ``exact``: all of them, or the experiment fails; ``quorum``: so many that the keys below are met, or it
            fails; ``skip``: the same, or the round is skipped.
        min_fraction: Quorum as a fraction of the cohort, rounded up.
        min_updates: Quorum as a number; the larger of both counts.
    """

    policy: Literal["exact", "quorum", "skip"] = "exact"
    min_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    min_updates: Annotated[int, Field(ge=1)] | None = None


class Deadline(Section):
    """How long a round may take.

    Attributes:
        train_s: Seconds a collaborator may train: then it stops at the next batch, and what it has counts; none: as
            long as the round, see `plan.limits`.
        grace_s: Seconds after ``train_s`` in which it must have come to the end of its batch and done what follows;
            then its tasks are ended, and nothing comes of them; none: a quarter of ``train_s``, at least `GRACE_S`.
        round_s: Seconds a phase of the round may last; none: by what was observed, see `plan.limits`.
        rejoin_s: Seconds a collaborator whose connection broke may take to come back; none: at least `REJOIN_S`, longer
            where answers take longer, and never longer than the round.
    """

    train_s: Annotated[float, Field(gt=0)] | None = None
    grace_s: Annotated[float, Field(gt=0)] | None = None
    round_s: Annotated[float, Field(gt=0)] | None = None
    rejoin_s: Annotated[float, Field(gt=0)] | None = None

    @property
    def training_limit_s(self) -> float | None:
        """Seconds after which a collaborator that trains is ended, if there is a limit."""
        if self.train_s is None:
            return self.round_s
        limit_s = self.train_s + self.given_grace_s
        return limit_s if self.round_s is None else min(limit_s, self.round_s)

    @property
    def given_grace_s(self) -> float:
        """Seconds that may pass after ``train_s`` until a collaborator is ended; there is none without ``train_s``."""
        return max(GRACE_S, (self.train_s or 0.0) / 4) if self.grace_s is None else self.grace_s

    @property
    def return_limit_s(self) -> float:
        """Seconds that a collaborator may take to come back, at least."""
        if self.rejoin_s is not None:
            return self.rejoin_s
        return REJOIN_S if self.round_s is None else min(REJOIN_S, self.round_s)


class StopRule(Section):
    """One stop rule; exactly one of the keys, but that ``metric`` goes with ``min`` or ``max``.

    ``patience`` counts rounds without a better ``model_store.best`` metric, ``wall_s`` the seconds that rounds took,
    ``traffic_bytes`` what models and updates have come to, see `federation.participation.traffic`.
    """

    rounds: Annotated[int, Field(ge=1)] | None = None
    metric: str | None = None
    min: float | None = None
    max: float | None = None
    loss_max: float | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    wall_s: Annotated[float, Field(gt=0)] | None = None
    traffic_bytes: Annotated[int, Field(ge=1)] | None = None

    @model_serializer(mode="wrap")
    def _without_late_keys(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave out what came after 0.1.0 and is not given, so that the digests of older plans stay."""
        values: dict[str, object] = write(self)
        late = ("wall_s", "traffic_bytes")
        return {key: value for key, value in values.items() if key not in late or value is not None}


class Stop(Section):
    """When to end, besides ``rounds_to_train``: any or all of the rules."""

    any: tuple[StopRule, ...] = ()
    all: tuple[StopRule, ...] = ()


def metric_mode(metric: str) -> Literal["max", "min"] | None:
    """Say whether more or less of a metric is better; None: it is not registered.

    Args:
        metric: The name of its values, as in ``accuracy`` or ``train.accuracy``.
    """
    name = metric.rpartition(".")[2]
    if name == "loss":
        return "min"
    mode = getattr(registry.resolve("metric", name), "mode", None) if name in registry.names("metric") else None
    return mode if mode in {"max", "min"} else None


class Best(Section):
    """Which metric makes a version the best one, and whether more or less of it is better; None: it is not said."""

    metric: str = "loss"
    mode: Literal["max", "min"] | None = None

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: object) -> object:
        return _with_known_mode(values, "loss")


def _with_known_mode(values: object, usual: str) -> object:
    """Say whether more of a metric is better where everybody knows and it is not said."""
    if not isinstance(values, dict) or values.get("mode") is not None:
        return values
    metric = values.get("metric", usual)
    return {**values, "mode": metric_mode(metric) if isinstance(metric, str) else None}


class Keep(Section):
    """How many versions are kept: the newest ``last`` ones, and the best one always."""

    last: Annotated[int, Field(ge=1)] = 5


class ModelStore(Section):
    """The ``model_store:`` section; ``keep`` is ``all`` or a section.

    ``accepted_margin`` is by how much a round's ``best`` metric may be worse than the best one; a model that is worse
    is rejected, and the one before it goes on. None: every model is accepted.
    """

    keep: Annotated[Annotated[Keep, UnionTag(OF_VALUES)] | Annotated[Literal["all"], UnionTag(OF_WORDS)], BY_TYPE] = (
        Keep()
    )
    best: Best = Best.model_validate({})
    accepted_margin: Annotated[float, Field(ge=0)] | None = None


class SampleLimit(Section):
    """How many samples a site may claim, in training and in evaluation; of several bounds, the lowest one holds.

    Attributes:
        most: As many as any site may claim; none: no such bound.
        sites: As many as these sites may claim, in place of ``most``.
        multiple: As many times the median of what the sites of the round claim; none: no such bound.
        above: What is done about a site that claims more: ``cap``: it counts with the bound; ``drop``: not at all.
    """

    most: Annotated[int, Field(ge=1)] | None = None
    sites: dict[Name, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    multiple: Annotated[float, Field(ge=1)] | None = None
    above: Literal["cap", "drop"] = "cap"


class CrossEvaluation(Section):
    """The ``cross_evaluation:`` section: every update is scored by another site of the round, on that site's data.

    A site is shown the update of another one for that; docs/aggregation.md says what that means.

    Attributes:
        metric: What the evaluations of the plan report that scores are compared by, as ``accuracy`` or
            ``validate.accuracy``.
        mode: Whether more or less of it is better; None: it is not said.
        threshold: The worst score that an update may have; none: see ``margin``.
        margin: By how much a score may be worse than the median of the round's scores; none: see ``threshold``.
        result: What is done about an update that is worse: ``drop``: it does not count; ``reweigh``: its number of
            samples is multiplied by ``margin`` over how much worse than the median it is.
        on_missing: Whether an update counts that nobody has scored in time.
    """

    metric: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    mode: Literal["max", "min"] | None = None
    threshold: float | None = None
    margin: Annotated[float, Field(gt=0)] | None = None
    result: Literal["drop", "reweigh"] = "drop"
    on_missing: Literal["keep", "drop"] = "keep"

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: object) -> object:
        return _with_known_mode(values, "")


class NetworkSettings(Section):
    """Where the Aggregator listens in task-runner mode; the Director chooses all of it itself."""

    host: Annotated[str, AfterValidator(checked_host)] = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] = 50051
    data_port: Annotated[int, Field(ge=0, le=65535)] | None = 50052


class Network(Section):
    """The ``network:`` section."""

    settings: NetworkSettings = NetworkSettings()


def _pattern(pattern: str) -> str:
    if pattern.startswith(("/", "~")) or "\\" in pattern or ".." in pattern.split("/"):
        raise ValueError("must be relative to the workspace and stay within it, with / between folders")
    return pattern


Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_pattern)]
"""Files of the workspace, as in ``assets/*.json``; ``*`` goes over slashes, and a folder means all that is in it."""


LOCAL = "local"
"""The rule for tensors that stay at their sites."""
MOST_TENSOR_RULES = 100


class TensorRule(Section):
    """A rule for some tensors of the model.

    Attributes:
        match: Names of tensors, as in ``*.bn.*``; see `tensors.matching.matched`.
        rule: ``local``: each site keeps its own; or how their elements are combined.
    """

    match: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    rule: Annotated[Component, BeforeValidator(named_only)]

    @property
    def stays(self) -> bool:
        """Whether the tensors stay at their sites."""
        return self.rule.template == LOCAL


class AggregationSection(Component):
    """The ``aggregation:`` section: how updates are combined, and what is done otherwise with some tensors."""

    template: str = "fedavg"
    rules: Annotated[tuple[TensorRule, ...], Field(max_length=MOST_TENSOR_RULES)] = ()


Tag = Annotated[str, StringConstraints(pattern=rf"^{TAG_PATTERN}$")]
"""A word by which people find experiments again: ``baseline``, or ``lr=0.1``."""
MOST_TAGS = 16
MOST_VALIDATORS = 100
MOST_CONTROLLERS = 20
MOST_CALLBACKS = 8


class Plan(Section):
    """Everything the parties of an experiment agreed on; see docs/reference/plan.md for each key.

    ``workspace`` is where the code is: a directory relative to the plan file, or the name of an installed workspace
    template. It is not part of the digest. ``include`` names files of it that travel besides code, ``exclude`` such as
    do not travel. ``interface`` is the federation's name for the data that is trained on; None: it has one kind only.
    ``tags`` are words by which people find experiments again; nothing goes by them.
    """

    name: Name
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    tags: Annotated[tuple[Tag, ...], Field(max_length=MOST_TAGS)] = ()
    workspace: str = "."
    interface: Name | None = None
    include: tuple[Pattern, ...] = ()
    exclude: tuple[Pattern, ...] = ()
    aggregator: AggregatorSection = AggregatorSection()
    collaborator: CollaboratorSection = CollaboratorSection()
    task_runner: Component
    data_loader: Component
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    mode: Mode = Mode()
    algorithm: AlgorithmSection = AlgorithmSection(template=NO_ALGORITHM)
    assigner: Component = Component(template="all")
    selector: Component = Component(template="all")
    evaluation_selector: Component = Component(template="all")
    work: Component = Component(template=TASKS_ALONE)
    admission: Admission = Admission()
    participation: Participation = Participation()
    deadline: Deadline = Deadline()
    validator: Annotated[tuple[Component, ...], Field(max_length=MOST_VALIDATORS)] = (
        Component(template="schema"),
        Component(template="finite"),
    )
    controllers: Annotated[tuple[Component, ...], Field(max_length=MOST_CONTROLLERS)] = ()
    sample_limit: SampleLimit = SampleLimit()
    cross_evaluation: CrossEvaluation | None = None
    aggregation: AggregationSection = AggregationSection()
    server_optimizer: Component = Component(template="none")
    compression_pipeline: CompressionPipeline = CompressionPipeline()
    stop: Stop = Stop()
    model_store: ModelStore = ModelStore()
    callbacks: Annotated[tuple[Component, ...], Field(max_length=MOST_CALLBACKS)] = ()
    network: Network = Network()
    simulation: SimulationSection = SimulationSection()

    @property
    def keeps_at_sites(self) -> bool:
        """Whether sites keep something that training goes on from: an algorithm's, an optimizer's, own tensors."""
        own = any(rule.stays for rule in self.aggregation.rules)
        optimizer = self.collaborator.settings.opt_treatment == "CONTINUE_LOCAL"
        return own or optimizer or self.algorithm.template != NO_ALGORITHM

    def with_reset_optimizer(self) -> "Plan":
        """The same plan, in which optimizers keep no state and share none."""
        settings = self.collaborator.settings.model_copy(update={"opt_treatment": "RESET"})
        return self.model_copy(update={"collaborator": self.collaborator.model_copy(update={"settings": settings})})
