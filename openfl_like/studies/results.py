"""What came of a run: its state, and a row for each round, as they are kept in the study's folder."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError

from openfl_like.errors import DamagedError
from openfl_like.peer_json import read_peer_json
from openfl_like.studies.study import RunId

_MOST_BYTES = 1 << 30


class RunState(StrEnum):
    """How a run stands that is not running.

    Attributes:
        FINISHED: It is complete.
        PAUSED: It waits until it is decided whether its configuration goes on.
        STOPPED: Its configuration does not go on.
        FAILED: It ended in a failure, and would again.
        KILLED: Its process was ended from outside; it goes on when the study is run again.
    """

    FINISHED = "finished"
    PAUSED = "paused"
    STOPPED = "stopped"
    FAILED = "failed"
    KILLED = "killed"

    @property
    def settled(self) -> bool:
        """Whether it stays as it is."""
        return self in {RunState.FINISHED, RunState.STOPPED, RunState.FAILED}


@dataclass(frozen=True, slots=True)
class RoundRow:
    """A finished round.

    Attributes:
        round: Its number, from 1.
        digest: Identity of its model.
        metrics: Metric -> value over all sites, weighted by samples; only finite ones.
        selected: The sites that were asked to train.
        contributors: Those that did.
        hours: Virtual time since the start, in hours, where the plan's devices have any.
        joules: Energy that the devices took since the start, where they count it.
    """

    round: int
    digest: str
    metrics: Mapping[str, float]
    selected: tuple[str, ...] = ()
    contributors: tuple[str, ...] = ()
    hours: float | None = None
    joules: float | None = None


@dataclass(frozen=True, slots=True)
class StudyRunResult:
    """What came of a run.

    Attributes:
        run: Its id.
        plan_digest: Identity of its plan.
        state: How it stands.
        rounds: The last round that is finished.
        sha256: Of its last model, as ``sha256sum`` prints it; empty if it is not complete.
        code: Of the error that ended it, such as ``E501``; of one that is finished: that it was on fewer sites.
        cause: What went wrong.
        learnt: Whether its last model is another one than its first.
        sites: How many there were.
        rows: Its finished rounds.
    """

    run: RunId
    plan_digest: str
    state: RunState
    rounds: int = 0
    sha256: str = ""
    code: str = ""
    cause: str = ""
    learnt: bool = True
    sites: int = 0
    rows: tuple[RoundRow, ...] = field(default=())

    def until(self, last: int) -> "StudyRunResult":
        """Return it as it was after a round, and stopped there."""
        rows = tuple(row for row in self.rows if row.round <= last)
        return replace(self, state=RunState.STOPPED, rounds=min(self.rounds, last), rows=rows, sha256="")

    def value(self, metric: str, at: int | None = None) -> float | None:
        """Return the value of a metric after a round, or the last one before it; None: there is none.

        Args:
            metric: Its name.
            at: The round; None: the last one.
        """
        rows = [row for row in self.rows if metric in row.metrics and (at is None or row.round <= at)]
        return rows[-1].metrics[metric] if rows else None

    def selections(self) -> dict[str, int]:
        """Return how often each site was asked to train that was ever asked."""
        counts: dict[str, int] = {}
        for row in self.rows:
            for site in row.selected:
                counts[site] = counts.get(site, 0) + 1
        return counts


_RESULT = TypeAdapter(StudyRunResult)


def result_json(result: StudyRunResult) -> bytes:
    """Write a result."""
    return json.dumps(_RESULT.dump_python(result, mode="json"), allow_nan=False).encode() + b"\n"


def result_from(data: bytes, place: str) -> StudyRunResult:
    """Read what `result_json` wrote.

    Raises:
        DamagedError: If it is something else.
    """
    try:
        return _RESULT.validate_python(read_peer_json(data, _MOST_BYTES))
    except (ValueError, ValidationError) as error:
        cure = "remove this file: the run is taken up from its record"
        raise DamagedError("this is not the result of a run", place=place, cure=cure) from error


def finite(metrics: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield the metrics that are numbers."""
    return ((name, value) for name, value in metrics.items() if math.isfinite(value))
