"""``fx experiment why``: the first cause of what went wrong, or what an experiment waits for."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openfl_like.cli.options import director_options, own_certificates
from openfl_like.cli.output.console import clock, emit, json_option, print_table, put

if TYPE_CHECKING:
    from openfl_like.api.explanation import Explanation


@click.command()
@click.argument("experiment_id", metavar="ID")
@director_options
@json_option
def why(experiment_id: str, director: str, certificates: Path | None, *, as_json: bool) -> None:
    """Say why an experiment FAILED, is DEGRADED or waits: the first cause, where, when, and the log of that site.

    The exit code is 0 whatever went wrong with the experiment: the question was answered.

    Example: fx experiment why heart-disease-1a2b3c4d
    """
    from openfl_like.api.explanation import explanation
    from openfl_like.api.federation import Federation

    with Federation(director, own_certificates(certificates, "user")) as federation:
        found = explanation(federation, experiment_id)
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
    from openfl_like.cli.output.machine import course

    answer, cause = found.why, found.why.cause
    put(f"{found.summary.id} is {found.summary.standing}: {answer.sentence}")
    fields: dict[str, object] = {"since": clock(answer.since)} if answer.since else {}
    if cause is not None:
        fields |= {
            "what": cause.message,
            "exception": cause.error,
            "line": f"{cause.file}:{cause.line}" if cause.file else "",
            "site": cause.site,
            "phase": cause.phase,
            "round": cause.round,
            "when": clock(cause.time),
        }
    emit({name: value for name, value in fields.items() if value not in {"", None}}, as_json=False)
    for text in answer.mended:
        put(f"mended: {text}")
    if found.evidence.lines:
        put(f"from the log of {found.evidence.source}:")
        for line in found.evidence.lines:
            put(f"  {line}")
    machine = found.evidence.machine
    if machine is not None:
        print_table(
            course(machine), f"the machine of {found.evidence.source} around then, in means of {machine.slot_s:g} s"
        )
