"""``fx experiment why``: the first cause of what went wrong, or what an experiment waits for."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.experiment.named import id_argument, one_experiment
from openfl_like.cli.options import director_options
from openfl_like.cli.output.colours import BAD, ODD, colour_of
from openfl_like.cli.output.console import clock, emit, json_option, print_table, put
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.history.cause import Cause, Condition

if TYPE_CHECKING:
    from openfl_like.api.explanation import Explanation

TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d{3} ")
"""With what a line of a log begins."""


@click.command()
@id_argument
@director_options
@json_option
def why(experiment_id: str, director: str, certificates: Path | None, *, as_json: bool) -> None:
    """Say why an experiment FAILED, is DEGRADED or waits: the first cause, where, when, and the log of that site.

    The exit code is 0 whatever went wrong with the experiment: the question was answered.

    Example: fx experiment why heart_disease-1a2b3c4d
    """
    from openfl_like.api.explanation import explanation

    with one_experiment(experiment_id, director, certificates) as (federation, found_id):
        found = explanation(federation, found_id)
    if as_json:
        emit(_fields(found), as_json=True)
    else:
        _show(found)


def _fields(found: "Explanation") -> dict[str, object]:
    from dataclasses import asdict

    told = asdict(found.why)
    standing = {"experiment": found.summary.id, "standing": found.summary.standing}
    return {**standing, **told, "evidence": asdict(found.evidence)}


def _show(found: "Explanation") -> None:
    from openfl_like.cli.experiment.advice import advice
    from openfl_like.cli.experiment.sentences import sentence
    from openfl_like.cli.output.machine import course

    answer, evidence = found.why, found.evidence
    cure = f"do: {advice(found)}"
    standing = f"{found.summary.id} is {found.summary.standing}"
    if answer.cause is None:
        since = f" (since {clock(answer.since)})" if answer.since else ""
        put(f"{standing}: {answer.sentence}{since}", style=colour_of(found.summary.standing), hang=0)
    else:
        _show_cause(answer.cause, "" if answer.verdict is Condition.WAITS else cure)
        put(f"{standing}: {answer.sentence}" if answer.verdict is Condition.WAITS else standing)
    for told in answer.missing_metrics:
        put(f"missing: {sentence(told)}", style=ODD)
    if answer.cause is None or answer.verdict is Condition.WAITS:
        put(cure, style="bold")
    for text in answer.mended:
        put(f"mended: {text}")
    if evidence.lines:
        put(f"from the log of {evidence.source}:")
        for line in folded(evidence.lines):
            put(f"  {line}")
    if evidence.machine is not None:
        title = f"the machine of {evidence.source} around then, in means of {evidence.machine.slot_s:g} s"
        print_table(course(evidence.machine), title)


def _show_cause(cause: Cause, cure: str) -> None:
    """Cause and cure come first: who has mistyped a name wants to read no more than that and the line."""
    what = ": ".join(part for part in (_code(cause), cause.error, cause.message) if part)
    put(f"cause: {what}", style=BAD, hang=7)
    if cure:
        put(cure, style="bold")  # not wrapped: there may be a command in it
    line = f"{cause.file}:{cause.line}" if cause.file else ""
    call = f"the training loop's own call '{cause.call}'" if cause.call else ""
    where = ", ".join(part for part in (cause.place, line or call) if part)
    if where:
        put(f"where: {where}", hang=7)
    if cause.failure.batch:
        put(f"batch: {cause.failure.batch}", hang=7)
    if cause.time:
        put(f"when:  {clock(cause.time)}")


def _code(cause: Cause) -> str:
    """The code of what a site refused with; empty if code of a workspace raised: its classes may have any name."""
    from openfl_like.error_meanings import MEANINGS

    if cause.kind not in {FailureKind.ORDER, FailureKind.ENVIRONMENT}:
        return ""
    return next((error.code for error in MEANINGS if error.__name__ == cause.error), "")


def folded(lines: Sequence[str]) -> Iterator[str]:
    """Give the lines; one that comes several times in a row only once, with its first time and how often it came."""
    for _, same in groupby(lines, lambda line: TIME.sub("", line)):
        first, *others = same
        yield f"{first} ({len(others) + 1} times)" if others else first
