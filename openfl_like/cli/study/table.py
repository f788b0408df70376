"""The table of a study: a row for each configuration, in 80 columns."""

from collections.abc import Collection, Mapping

from openfl_like.cli.study.sentences import common_places, spread_text, state_text
from openfl_like.studies.results import StudyRunResult
from openfl_like.studies.study import StudyDesign
from openfl_like.studies.summary import ConfigurationSummary, problems, summaries


def table_of(
    study: StudyDesign, results: Mapping[str, StudyRunResult], running: Collection[str]
) -> list[dict[str, object]]:
    """Return a row for each configuration.

    Args:
        study: The study.
        results: What came of its runs, by their ids.
        running: The runs that are under way.
    """
    found = summaries(study, results)
    places = common_places(one.spread for one in found)
    return [_row(study, one, running, places) for one in found]


def _row(
    study: StudyDesign, one: ConfigurationSummary, running: Collection[str], places: int | None
) -> dict[str, object]:
    under_way = sum(run.id in running for run in one.runs)
    n = one.spread.n if one.spread is not None else 0
    return {
        "no": one.configuration.number,
        **one.configuration.levels,
        study.metric: spread_text(one.spread, places),
        "n": n,
        "state": state_text(one, under_way),
    }


def document(study: StudyDesign, results: Mapping[str, StudyRunResult], running: Collection[str]) -> dict[str, object]:
    """Return what programs are told of a study."""
    rows = [
        {
            "number": one.configuration.number,
            "levels": dict(one.configuration.levels),
            "changes": dict(one.configuration.changes),
            "n": one.spread.n if one.spread else 0,
            "mean": one.spread.mean if one.spread else None,
            "sd": one.spread.sd if one.spread else None,
            "fairness": one.fairness,
            "hours": one.hours,
            "joules": one.joules,
            "stopped_after": one.stopped_after,
            "runs": [_run(run.id, run.seed, results.get(run.id), run.id in running) for run in one.runs],
        }
        for one in summaries(study, results)
    ]
    found = [
        {
            "kind": one.kind.value,
            "runs": one.runs,
            "configurations": one.configurations,
            "code": one.code,
            "cause": one.cause,
        }
        for one in problems(study, results)
    ]
    facts = {"name": study.name, "digest": study.digest, "metric": study.metric, "mode": study.mode}
    return {**facts, "configurations": rows, "problems": found}


def _run(name: str, seed: int, result: StudyRunResult | None, running: bool) -> dict[str, object]:  # noqa: FBT001 (a row's cell)
    if result is None:
        return {"run": name, "seed": seed, "state": "running" if running else "waiting"}
    facts = {"rounds": result.rounds, "sha256": result.sha256, "code": result.code, "cause": result.cause}
    return {"run": name, "seed": seed, "state": "running" if running else result.state.value, **facts}
