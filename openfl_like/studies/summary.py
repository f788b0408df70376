"""What came of a study: a value for each configuration, and what is not as it should be."""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from openfl_like.studies.results import RunState, StudyRunResult
from openfl_like.studies.study import Configuration, StudyDesign, StudyRun

Results = Mapping[str, StudyRunResult]


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of several repetitions.

    Attributes:
        n: How many there are, each of another seed.
        mean: Their mean.
        sd: Their standard deviation, with n - 1; None where n is 1.
    """

    n: int
    mean: float
    sd: float | None


@dataclass(frozen=True, slots=True)
class ConfigurationSummary:
    """What came of a configuration.

    Attributes:
        configuration: Which one.
        runs: Its runs.
        results: What came of them, as far as something has.
        values: Seed -> the metric after the last round of a run that is finished, or was stopped.
        spread: Of these; None: there is none.
        fairness: Jain's index of how often each site was selected, the mean over the runs; None: nobody was.
        hours: Virtual hours that a run took, the mean; None: its rows do not have any.
        joules: Energy that a run took, the mean; None: its rows do not have any.
    """

    configuration: Configuration
    runs: tuple[StudyRun, ...]
    results: tuple[StudyRunResult, ...]
    values: Mapping[int, float]
    spread: Spread | None
    fairness: float | None
    hours: float | None
    joules: float | None

    def count(self, *states: RunState) -> int:
        """Return how many of its runs are in one of these states."""
        return sum(result.state in states for result in self.results)

    @property
    def stopped_after(self) -> int:
        """After which round it was stopped; 0: it was not."""
        return max((one.rounds for one in self.results if one.state is RunState.STOPPED), default=0)


class ProblemKind(StrEnum):
    """What is not as it should be.

    Attributes:
        FAILED: A run has failed.
        KILLED: The process of a run was ended from outside.
        DEGRADED: A run is finished, but on fewer sites than were asked.
        NO_METRIC: A run is finished and has no value of the study's metric.
        NOT_REPRODUCED: Two runs of the same plan and seed have different models.
        NO_GAIN: No round was better than the first one, or the model is the one that the run began with.
        SAME_MODEL: Two configurations have the same model, bit by bit, for every seed: what differs does nothing.
    """

    FAILED = "failed"
    KILLED = "killed"
    DEGRADED = "degraded"
    NO_METRIC = "no_metric"
    NOT_REPRODUCED = "not_reproduced"
    NO_GAIN = "no_gain"
    SAME_MODEL = "same_model"


@dataclass(frozen=True, slots=True)
class StudyProblem:
    """Something that is not as it should be.

    Attributes:
        kind: What it is.
        runs: The runs that it is about.
        configurations: Those whose runs they are.
        code: Of the error, where there is one.
        cause: What the first of the runs said.
    """

    kind: ProblemKind
    runs: tuple[str, ...]
    configurations: tuple[int, ...]
    code: str = ""
    cause: str = ""


def summaries(study: StudyDesign, results: Results) -> list[ConfigurationSummary]:
    """Return what came of each configuration, by number."""
    return [_summary(study, configuration, results) for configuration in study.configurations]


def _summary(study: StudyDesign, configuration: Configuration, results: Results) -> ConfigurationSummary:
    runs = study.runs_of(configuration)
    there = [(run, results[run.id]) for run in runs if run.id in results]
    counted = [(run, result) for run, result in there if result.state in {RunState.FINISHED, RunState.STOPPED}]
    values = {run.seed: value for run, result in counted if (value := result.value(study.metric)) is not None}
    return ConfigurationSummary(
        configuration,
        tuple(runs),
        tuple(result for _, result in there),
        values,
        spread_of(list(values.values())),
        _mean(
            [
                fairness
                for _, result in counted
                if (fairness := jain(list(result.selections().values()), result.sites)) is not None
            ]
        ),
        _mean([result.rows[-1].hours for _, result in counted if result.rows]),
        _mean([result.rows[-1].joules for _, result in counted if result.rows]),
    )


def spread_of(values: Sequence[float]) -> Spread | None:
    """Return mean and standard deviation; None where there is no value."""
    if not values:
        return None
    return Spread(len(values), statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def best_among(study: StudyDesign, found: Iterable[ConfigurationSummary]) -> list[ConfigurationSummary]:
    """Return the configurations with the best mean of those that were not stopped: several if they are alike."""
    there = [one for one in found if one.spread is not None and not one.stopped_after]
    means = [one.spread.mean for one in there if one.spread is not None]
    best = (max if study.mode == "max" else min)(means, default=None)
    return [one for one in there if one.spread is not None and one.spread.mean == best]


def jain(counts: Sequence[int], total: int) -> float | None:
    """Return the fairness of counts: 1 where all are equal, 1/n where one of n has everything; None where all are 0.

    R. Jain, D. Chiu and W. Hawe 1984, "A quantitative measure of fairness and discrimination for resource allocation in
    shared computer systems", DEC TR-301.

    Args:
        counts: Those that are not 0, or all.
        total: How many there are, n.
    """
    squares = sum(count * count for count in counts)
    return sum(counts) ** 2 / (max(total, len(counts)) * squares) if squares else None


def problems(study: StudyDesign, results: Results) -> list[StudyProblem]:
    """List what is not as it should be."""
    return [*_ended_badly(study, results), *_unlike(study, results), *_no_gain(study, results), *_alike(study, results)]


def is_fatal(problem: StudyProblem, study: StudyDesign) -> bool:
    """Whether a study with this problem has not succeeded: no gain is a finding, unless there is none anywhere."""
    if problem.kind is ProblemKind.NO_GAIN:
        return len(problem.configurations) == len(study.configurations)
    return problem.kind is not ProblemKind.SAME_MODEL


def _ended_badly(study: StudyDesign, results: Results) -> Iterator[StudyProblem]:
    groups: dict[tuple[ProblemKind, str, str], list[StudyRun]] = {}
    for run in study.runs:
        result = results.get(run.id)
        kind = _bad_end(study, result) if result is not None else None
        if result is not None and kind is not None:
            groups.setdefault((kind, result.code, result.cause), []).append(run)
    for (kind, code, cause), runs in groups.items():
        yield _problem(kind, runs, code, cause)


def _bad_end(study: StudyDesign, result: StudyRunResult) -> ProblemKind | None:
    if result.state is RunState.FAILED:
        return ProblemKind.FAILED
    if result.state is RunState.KILLED:
        return ProblemKind.KILLED
    if result.state is not RunState.FINISHED:
        return None
    if result.code:
        return ProblemKind.DEGRADED
    return ProblemKind.NO_METRIC if result.value(study.metric) is None else None


def _problem(kind: ProblemKind, runs: Sequence[StudyRun], code: str = "", cause: str = "") -> StudyProblem:
    numbers = tuple(dict.fromkeys(run.configuration for run in runs))
    return StudyProblem(kind, tuple(run.id for run in runs), numbers, code, cause)


def _unlike(study: StudyDesign, results: Results) -> Iterator[StudyProblem]:
    """Find runs of one plan and seed whose models differ."""
    for configuration in study.configurations:
        models: dict[str, dict[str, StudyRun]] = {}
        for run in study.runs_of(configuration):
            result = results.get(run.id)
            if result is not None and result.sha256:
                models.setdefault(run.plan_digest, {}).setdefault(result.sha256, run)
        different = [list(found.values()) for found in models.values() if len(found) > 1]
        yield from (_problem(ProblemKind.NOT_REPRODUCED, runs) for runs in different)


def _no_gain(study: StudyDesign, results: Results) -> Iterator[StudyProblem]:
    found = list[StudyRun]()
    for configuration in study.configurations:
        runs = [run for run in study.runs_of(configuration) if run.id in results]
        ended = [run for run in runs if results[run.id].state in {RunState.FINISHED, RunState.STOPPED}]
        if ended and not any(_gained(study, results[run.id]) for run in ended):
            found += ended
    if found:
        yield _problem(ProblemKind.NO_GAIN, found)


def _gained(study: StudyDesign, result: StudyRunResult) -> bool:
    values = [row.metrics[study.metric] for row in result.rows if study.metric in row.metrics]
    if not result.learnt:
        return False
    return len(values) < 2 or any(study.better(value, values[0]) for value in values[1:])


def _alike(study: StudyDesign, results: Results) -> Iterator[StudyProblem]:
    """Find configurations of other plans with the same models for all their seeds."""
    groups: dict[tuple[tuple[int, str], ...], list[Configuration]] = {}
    for configuration in study.configurations:
        runs = study.runs_of(configuration)
        models = tuple(
            (run.seed, result.sha256) for run in runs if (result := results.get(run.id)) is not None and result.sha256
        )
        if len(models) == len(runs):
            groups.setdefault(models, []).append(configuration)
    for group in groups.values():
        if len(group) > 1:
            yield _problem(ProblemKind.SAME_MODEL, [run for one in group for run in study.runs_of(one)])
