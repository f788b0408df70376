"""``fx doctor``: what would go wrong, before it does."""

from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from openfl_like.cli.options import (
    ADDRESS,
    DEFAULT_DIRECTOR,
    FILE,
    FOLDER,
    HELP,
    director_options,
    overrides_option,
    own_certificates,
    site_options,
)
from openfl_like.cli.output.colours import BAD, colour_of
from openfl_like.cli.output.console import emit, json_option, put

if TYPE_CHECKING:
    from openfl_like.doctor.finding import Finding
    from openfl_like.doctor.reports import Report

Result = TypeVar("Result")
FOUND = 1
"""Exit code if anything cannot work."""
_limit_option = click.option(
    "--limit", "limit_s", type=click.FloatRange(min=1), default=60.0, show_default=True, metavar="SECONDS",
    help="How long code of the site or the workspace may take.",
)  # fmt: skip


@click.group(context_settings=HELP, invoke_without_command=True)
@_limit_option
@click.option("-d", "--director", default=None, envvar="FX_DIRECTOR", type=ADDRESS, help="HOST:PORT of the Director.")
@json_option
@click.pass_context
def doctor(ctx: click.Context, limit_s: float, director: str | None, *, as_json: bool) -> int | None:
    """Look for what would go wrong, before a daemon is started or where something does not work.

    Without a role it looks at what lies in the present folder: director.yaml, shard.yaml, plan.yaml, and the
    certificates below certs. Nothing is changed. Each finding says what was seen, why, and what to do; the exit code is
    1 if anything cannot work.

    Example: fx doctor
    """
    if ctx.invoked_subcommand is not None:
        return None
    from openfl_like.doctor.reports import folder_reports
    from openfl_like.errors import UsageError

    found = folder_reports(Path(), director or DEFAULT_DIRECTOR, named=director is not None, limit_s=limit_s)
    reports = _run(found)
    if not reports:
        raise UsageError(
            "there is nothing to look at here: no director.yaml, plan.yaml, certs/user or shard.yaml with certs/envoy",
            cure="go to the right folder, or name a role: fx doctor director, envoy, user or plan",
        )
    return _show(reports, as_json=as_json)


@doctor.command(name="director")
@click.option("-c", "--config", type=FILE, default=Path("director.yaml"), show_default=True, help="Its settings.")
@json_option
def director_(config: Path, *, as_json: bool) -> int:
    """Look at director.yaml and all that a Director needs: certificates, authority, disk, ports, limits.

    Example: fx doctor director -c director.yaml
    """
    from openfl_like.doctor.reports import director_report

    return _show([_run(director_report(config))], as_json=as_json)


@doctor.command()
@site_options
@click.option("--directory", type=FOLDER, default=None, help="Where it will work.  [default: envoy-NAME]")
@_limit_option
@json_option
def envoy(
    shard_configs: tuple[Path, ...],
    name: str,
    director: str,
    certificates: Path | None,
    directory: Path | None,
    limit_s: float,
    *,
    as_json: bool,
) -> int:
    """Look at a site: certificates, shard, the line to the Director, clock, disk, frameworks.

    Example: fx doctor envoy -n cleveland -sc shard.yaml -d director.example.org:50050
    """
    from openfl_like.doctor.reports import Party, envoy_report

    party = Party(director, certificates or Path("certs", "envoy", name))
    found = envoy_report(name, party, shard_configs, directory or Path(f"envoy-{name}"), limit_s)
    return _show([_run(found)], as_json=as_json)


@doctor.command()
@director_options
@json_option
def user(director: str, certificates: Path | None, *, as_json: bool) -> int:
    """Look at a user's certificates and the line to the Director.

    Example: fx doctor user -d director.example.org:50050
    """
    from openfl_like.doctor.reports import Party, user_report

    return _show([_run(user_report(Party(director, own_certificates(certificates, "user"))))], as_json=as_json)


@doctor.command()
@click.argument("plan_name", metavar="PLAN")
@click.option("--shard", type=FILE, help="A site's shard.yaml to try it with.  [default: the first of shards/]")
@overrides_option
@_limit_option
@json_option
def plan(plan_name: str, shard: Path | None, overrides: tuple[str, ...], limit_s: float, *, as_json: bool) -> int:
    """Look at a plan and its workspace, and train and evaluate once on a shard, in a process of its own.

    Example: fx doctor plan plan.yaml --shard shard.yaml
    """
    from openfl_like.doctor.plan import Study
    from openfl_like.doctor.reports import plan_report

    return _show([_run(plan_report(Study(plan_name, limit_s, overrides, shard)))], as_json=as_json)


def _run(work: "Coroutine[Any, Any, Result]") -> Result:
    import asyncio

    return asyncio.run(work)


def _show(reports: "Sequence[Report]", *, as_json: bool) -> int:
    """Print findings and return the exit code."""
    from dataclasses import asdict

    from openfl_like.doctor.finding import Verdict, failed

    findings = [finding for report in reports for finding in report.findings]
    bad = failed(findings)
    if as_json:
        shown = [{"subject": one.subject, "findings": [asdict(item) for item in one.findings]} for one in reports]
        emit({"healthy": not bad, "reports": shown}, as_json=True)
        return FOUND if bad else 0
    for report in reports:
        put(report.subject)
        for finding in report.findings:
            _print(finding)
    _repeat(reports)
    counts = {verdict: sum(finding.verdict is verdict for finding in findings) for verdict in Verdict}
    told = f"{counts[Verdict.OK]} in order, {counts[Verdict.WARN]} to look at, {counts[Verdict.FAIL]} wrong"
    skipped = f", {counts[Verdict.SKIP]} not looked at" if counts[Verdict.SKIP] else ""
    put(f"{told}{skipped}", style=BAD if bad else "")
    return FOUND if bad else 0


def _repeat(reports: "Sequence[Report]") -> None:
    """Print once more what is not in order, and what to do: the findings may have scrolled away."""
    from openfl_like.doctor.finding import Verdict

    for report in reports:
        for finding in report.findings:
            if finding.verdict in {Verdict.WARN, Verdict.FAIL}:
                verdict, place = finding.verdict.value, f"{report.subject}: " if len(reports) > 1 else ""
                cure = f"; do: {_plain(finding.cure)}" if finding.cure else ""
                put(f"{verdict:<4}  {place}{finding.name}{cure}", style=colour_of(verdict), hang=6)


def _print(finding: "Finding") -> None:
    verdict = finding.verdict.value
    put(f"  {verdict:<4}  {finding.name}: {finding.seen}", style="" if verdict == "ok" else colour_of(verdict), hang=8)
    for problem in finding.problems:
        put(f"          - {problem}", hang=12)
    for label, text in (("why", finding.cause), ("do", finding.cure)):
        if text and verdict in {"warn", "fail"}:
            put(f"        {label + ':':<4} {_plain(text)}", hang=13)


def _plain(text: str) -> str:
    """Causes and cures come from docstrings, whose marks are for pages."""
    return text.replace("``", "'")
