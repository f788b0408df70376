"""A study as it is written: a YAML file with a base plan, what is swept over, and how often each is repeated."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from openfl_like.plan.names import NAME_PATTERN

MOST_RUNS = 10_000
MOST_LEVELS = 1_000
MOST_AXES = 16
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_-]+)*$", max_length=200)]
"""A key of the plan as in ``fx simulate -s KEY=VALUE``."""
AxisName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9 _-]{0,31}$")]
LevelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._=+()-]{0,39}$")]
KINDS = ("variants", "values", "geometric", "uniform", "log_uniform", "integers", "choice")


class StudySection(BaseModel):
    """A part of a study: unknown keys are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RealSpan(StudySection):
    """Real numbers between two bounds."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> "RealSpan":
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        return self


class PositiveSpan(RealSpan):
    """The same, above 0."""

    low: Annotated[float, Field(gt=0)]


class WholeSpan(StudySection):
    """Whole numbers between two bounds, both included."""

    low: int
    high: int

    @model_validator(mode="after")
    def _ordered(self) -> "WholeSpan":
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        return self


class GeometricSteps(PositiveSpan):
    """So many numbers from one bound to the other, each the same multiple of the one before."""

    steps: Annotated[int, Field(ge=2, le=MOST_LEVELS)]


class Axis(StudySection):
    """What is swept over: named variants, each with keys of its own, or the values of one key.

    Attributes:
        key: The plan's key, for all but ``variants``.
        variants: Name -> key of the plan -> value; crossed with all other axes.
        values: Every one of these; crossed.
        geometric: Every one of these steps; crossed.
        uniform: Drawn evenly.
        log_uniform: Drawn so that the logarithm is even.
        integers: Drawn evenly.
        choice: One of these drawn.
    """

    key: Key | None = None
    variants: Annotated[dict[LevelName, dict[Key, JsonValue]], Field(min_length=1, max_length=MOST_LEVELS)] | None = (
        None
    )
    values: Annotated[list[JsonValue], Field(min_length=1, max_length=MOST_LEVELS)] | None = None
    geometric: GeometricSteps | None = None
    uniform: RealSpan | None = None
    log_uniform: PositiveSpan | None = None
    integers: WholeSpan | None = None
    choice: Annotated[list[JsonValue], Field(min_length=1, max_length=MOST_LEVELS)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Axis":
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            found = f"it has {' and '.join(kinds)}" if kinds else "it has none"
            raise ValueError(f"an axis has exactly one of {', '.join(KINDS)}; {found}")
        if (self.key is None) != (self.variants is not None):
            told = (
                "variants name their keys themselves: leave key out" if self.key else "the key of the plan is missing"
            )
            raise ValueError(told)
        return self

    @property
    def drawn(self) -> bool:
        """Whether its values are drawn, not all taken."""
        return any(kind is not None for kind in (self.uniform, self.log_uniform, self.integers, self.choice))


class Draws(StudySection):
    """How values are drawn for the axes that are not crossed.

    Attributes:
        count: How many points; each has one value of every such axis, and is crossed with the other axes.
        seed: Seed of that.
    """

    count: Annotated[int, Field(ge=1, le=MOST_RUNS)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


class Halving(StudySection):
    """Successive halving (Jamieson and Talwalkar 2016, "Non-stochastic best arm identification", arXiv:1502.07943).

    Attributes:
        first: After so many rounds the worst configurations are stopped for the first time.
        factor: So many times fewer go on, and for so many times as many rounds.
    """

    first: Annotated[int, Field(ge=1)]
    factor: Annotated[int, Field(ge=2)] = 3


class Comparison(StudySection):
    """What the report compares.

    Attributes:
        axis: Its levels are compared with each other; none: the first axis that has variants, or else the first.
        baseline: The level that the others are tested against; none: the first.
    """

    axis: AxisName | None = None
    baseline: str | None = None


class StudyFile(StudySection):
    """A study; see docs/studies.md for each key.

    Attributes:
        name: What it is called.
        plan: The base plan: a file beside the study, or the name of a ready-made one.
        set: Key of the plan -> value, for all runs.
        repetitions: How often each configuration is run.
        seeds: ``sequence``: the plan's seed, the next one and so on; ``same``: the plan's seed each time, which shows
            whether the same bytes come again, and nothing else.
        metric: By which configurations are compared; none: the plan's ``model_store.best``.
        mode: Whether more or less of it is better.
        sweep: Name -> axis.
        draws: For axes whose values are drawn.
        early_stop: How hopeless configurations are stopped; none: they are not.
        compare: What the report compares.
    """

    name: Annotated[str, StringConstraints(pattern=rf"^{NAME_PATTERN}$")]
    plan: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    set: dict[Key, JsonValue] = Field(default_factory=dict)
    repetitions: Annotated[int, Field(ge=1, le=1_000)] = 1
    seeds: Literal["sequence", "same"] = "sequence"
    metric: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    mode: Literal["max", "min"] | None = None
    sweep: Annotated[dict[AxisName, Axis], Field(max_length=MOST_AXES)] = Field(default_factory=dict)
    draws: Draws | None = None
    early_stop: Halving | None = None
    compare: Comparison = Comparison()
