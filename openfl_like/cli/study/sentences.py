"""What is told of a study in words: how a configuration stands, and what is not as it should be."""

import math
import statistics
from collections.abc import Iterable, Sequence

from openfl_like.studies.results import RunState
from openfl_like.studies.study import StudyDesign
from openfl_like.studies.summary import ConfigurationSummary, ProblemKind, Spread, StudyProblem

_SHOWN = 4
_MOST_DECIMALS = 6
_BEGINNINGS = {
    ProblemKind.FAILED: "failed",
    ProblemKind.KILLED: "killed, and go on when the study is run again",
    ProblemKind.DEGRADED: "finished on fewer sites than were asked",
}


def counted(number: int, word: str) -> str:
    """Return so many of something."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def spread_text(spread: Spread | None, places: int | None = None) -> str:
    """Return mean and standard deviation.

    Args:
        spread: Both; None: nothing is known.
        places: Decimals of both; None: two digits of the deviation.
    """
    if spread is None:
        return ""
    if spread.sd is None:
        return f"{spread.mean:.4g}"
    if places is None:
        places = decimal_places(spread.sd) if spread.sd else _MOST_DECIMALS - 2
    if places < 0:
        return f"{spread.mean:.4g} ± {spread.sd:.2g}"
    return f"{spread.mean:.{places}f} ± {spread.sd:.{places}f}"


def common_places(spreads: Iterable[Spread | None]) -> int | None:
    """Return with how many decimals values stand well below each other; None: none has a deviation."""
    places = [decimal_places(spread.sd) for spread in spreads if spread is not None and spread.sd]
    return statistics.median_high(places) if places else None


def decimal_places(error: float) -> int:
    """Return how many decimals show two digits of an error, six at most; less than 0 for one of a hundred and more."""
    return min(_MOST_DECIMALS, 1 - math.floor(math.log10(abs(error))))


def decimals(value: float, error: float) -> str:
    """Return a number with as many decimals as an error of its size has two digits."""
    places = decimal_places(error) if error and math.isfinite(error) else -1
    return f"{value:.{places}f}" if places >= 0 else f"{value:.4g}"


def state_text(one: ConfigurationSummary, running: int) -> str:
    """Say how a configuration stands.

    Args:
        one: The configuration.
        running: How many of its runs are under way.
    """
    total = len(one.runs)
    parts = list[str]()
    failed = [result for result in one.results if result.state in {RunState.FAILED, RunState.KILLED}]
    for word in (RunState.FAILED, RunState.KILLED):
        count = one.count(word)
        if count:
            codes = sorted({result.code for result in failed if result.state is word})
            parts.append(f"{word.value} {count}/{total} [{', '.join(codes)}]")
    if one.stopped_after:
        parts.append(f"stopped early after round {one.stopped_after}")
    done = one.count(RunState.FINISHED)
    if done:
        parts.append("done" if done == total else f"done {done}/{total}")
    if running:
        parts.append(f"running {running}/{total}")
    waiting = total - running - one.count(*RunState) + one.count(RunState.PAUSED)
    if waiting > 0:
        parts.append("waiting" if waiting == total else f"waiting {waiting}/{total}")
    return ", ".join(parts)


def problem_text(problem: StudyProblem, study: StudyDesign) -> str:
    """Say what is not as it should be."""
    runs, metric = _names(problem.runs), study.metric
    if problem.kind in _BEGINNINGS:
        code = f" [{problem.code}]" if problem.code else ""
        return f"{_BEGINNINGS[problem.kind]}: {runs}{code}: {problem.cause}"
    titles = _names([study.configurations[number - 1].title for number in problem.configurations], "; ")
    match problem.kind:
        case ProblemKind.NO_METRIC:
            return f"no value of '{metric}': {runs}; name another metric in the study"
        case ProblemKind.NOT_REPRODUCED:
            return f"the same plan and seed gave different models: {runs}"
        case ProblemKind.NO_GAIN if len(problem.configurations) == len(study.configurations):
            return f"nothing was learnt: in no configuration was any round better than the first by {metric}"
        case ProblemKind.NO_GAIN:
            return f"no round was better than the first by {metric}: {titles}"
        case _:
            return f"the same models, bit by bit, so that what differs does nothing: {titles}"


def _names(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{between.join(names[:_SHOWN])}{more}"
