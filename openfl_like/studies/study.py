"""A study as a value: its configurations, its runs, and the digest by which parts of it are known."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from blake3 import blake3
from pydantic import JsonValue, StringConstraints, TypeAdapter, ValidationError

from openfl_like.errors import DamagedError
from openfl_like.peer_json import read_peer_json

_FORM = 1
RunId = Annotated[str, StringConstraints(pattern=r"^c[0-9]{1,5}-r[0-9]{1,5}$")]
"""What a run is called, and its folder: nothing that leads elsewhere, whoever wrote it."""
_MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Level:
    """A value of an axis.

    Attributes:
        name: For people.
        number: Where it is one, for an axis of a figure.
    """

    name: str
    number: float | None = None


@dataclass(frozen=True, slots=True)
class SweptAxis:
    """An axis with its levels in order.

    Attributes:
        name: What it is called.
        levels: All of them; those that were drawn in the order in which they were.
        drawn: Whether they were drawn.
        geometric: Whether the distance between two of them is their ratio.
    """

    name: str
    levels: tuple[Level, ...]
    drawn: bool = False
    geometric: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """One point of the sweep.

    Attributes:
        number: From 1.
        levels: Axis -> name of its level.
        changes: Key of the plan -> value.
        rounds: How many its plan wants.
    """

    number: int
    levels: Mapping[str, str]
    changes: Mapping[str, JsonValue]
    rounds: int

    @property
    def title(self) -> str:
        """Its levels, for people."""
        return ", ".join(f"{axis} {level}" for axis, level in self.levels.items()) or "as the plan says"


@dataclass(frozen=True, slots=True)
class StudyRun:
    """One simulation.

    Attributes:
        id: What its folder is called.
        configuration: Number of its configuration.
        repetition: From 1.
        seed: Of its plan.
        plan_digest: Identity of its plan.
    """

    id: RunId
    configuration: int
    repetition: int
    seed: int
    plan_digest: str


@dataclass(frozen=True, slots=True)
class HalvingRule:
    """When configurations are stopped; see `schema.Halving`."""

    first: int
    factor: int


@dataclass(frozen=True, slots=True)
class StudyDesign:
    """Everything that a study is, without what came of it and without where anything is on this machine.

    Attributes:
        name: What it is called.
        base: The base plan, as the study names it.
        metric: By which configurations are compared.
        mode: Whether more or less of it is better.
        seeds: ``sequence`` or ``same``.
        repetitions: How often each configuration is run.
        axes: What is swept over.
        configurations: All of them, by number.
        runs: All of them, in their order.
        halving: When configurations are stopped; None: never.
        compare: The axis whose levels are compared; empty: there is none.
        baseline: The level that the others are tested against.
        workspace: BLAKE3 of the workspace's files, hex.
    """

    name: str
    base: str
    metric: str
    mode: Literal["max", "min"]
    seeds: Literal["sequence", "same"]
    repetitions: int
    axes: tuple[SweptAxis, ...]
    configurations: tuple[Configuration, ...]
    runs: tuple[StudyRun, ...]
    halving: HalvingRule | None
    compare: str
    baseline: str
    workspace: str
    form: int = field(default=_FORM)

    @property
    def digest(self) -> str:
        """BLAKE3 of all that decides what its runs are and when they are stopped, hex; how they are shown is not."""
        shown = {"compare", "baseline", "base"}
        values = {key: value for key, value in _STUDY.dump_python(self, mode="json").items() if key not in shown}
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return str(blake3(text.encode()).hexdigest())

    def configuration(self, run: StudyRun) -> Configuration:
        """Return the configuration of a run."""
        return self.configurations[run.configuration - 1]

    def runs_of(self, configuration: Configuration) -> list[StudyRun]:
        """Return the runs of a configuration."""
        return [run for run in self.runs if run.configuration == configuration.number]

    def better(self, value: float, other: float) -> bool:
        """Whether a value of the metric is better than another one."""
        return value > other if self.mode == "max" else value < other


@dataclass(frozen=True, slots=True)
class RunnableStudy:
    """A study, and what this machine needs to run it.

    Attributes:
        study: The study.
        workspace: Where its code is.
        plans: Id of a run -> its frozen plan.
    """

    study: StudyDesign
    workspace: Path
    plans: Mapping[str, bytes]


_STUDY = TypeAdapter(StudyDesign)


def study_json(study: StudyDesign) -> bytes:
    """Write a study."""
    return json.dumps(_STUDY.dump_python(study, mode="json"), indent=1, allow_nan=False).encode() + b"\n"


def study_from(data: bytes, place: str) -> StudyDesign:
    """Read what `study_json` wrote.

    Raises:
        DamagedError: If it is something else.
    """
    try:
        study = _STUDY.validate_python(read_peer_json(data, _MOST_BYTES))
    except (ValueError, ValidationError) as error:
        raise DamagedError("this is not a study", place=place) from error
    if study.form != _FORM:
        raise DamagedError(f"this study is of form {study.form}, and only {_FORM} is known here", place=place)
    return study
