"""The report of a dry run on the screen, or for programs; and how the command ends."""

from collections.abc import Mapping
from dataclasses import asdict

from openfl_like.authoring.dry_run.findings import DryRunFinding, DryRunReport, Forecast, Severity, TriedKind
from openfl_like.cli.output.colours import BAD, GOOD, ODD
from openfl_like.cli.output.console import emit, put
from openfl_like.cli.output.dry_run_sentences import seconds, size, told
from openfl_like.error_meanings import MEANINGS
from openfl_like.errors import DryRunError

_STYLES = {Severity.ERROR: BAD, Severity.WARNING: ODD}
_WIDTH = len(Severity.WARNING.value) + 2


def show_report(report: DryRunReport, *, as_json: bool) -> int:
    """Show what a dry run has come to.

    Returns:
        The exit code, where a document says what is wrong.

    Raises:
        DryRunError: If anything would go wrong, and people read it.
    """
    if as_json:
        emit(_document(report), as_json=True)
        return MEANINGS[DryRunError].exit_code if report.errors else 0
    _show_tried(report)
    for one in report.findings:
        _show_finding(one)
    if report.forecast is not None:
        _show_forecast(report, report.forecast)
    if report.errors:
        count = len(report.errors)
        raise DryRunError(
            f"{count} thing{'s' if count > 1 else ''} would go wrong; each has its cure above",
            place=report.plan,
            cure="mend the plan or the code, then try again",
        )
    warned = len(report.findings)
    last = f"; {warned} thing{'s' if warned > 1 else ''} to look at first" if warned else ""
    put(f"nothing would go wrong, as far as invented data can show{last}", style=ODD if warned else GOOD, hang=0)
    return 0


def _document(report: DryRunReport) -> Mapping[str, object]:
    findings = [_finding_document(one) for one in report.findings]
    code = DryRunError.code if report.errors else ""
    return {**asdict(report), "findings": findings, "passed": not report.errors, "code": code}


def _finding_document(one: DryRunFinding) -> dict[str, object]:
    values = {key: value for key, value in asdict(one).items() if key != "other"}
    words = told(one)
    return {**values, "severity": one.severity.value, "message": words.what, "where": words.where, "cure": words.cure}


def _show_tried(report: DryRunReport) -> None:
    sites = f"{report.sites:,} site{'' if report.sites == 1 else 's'}"
    put(f"dry run of {report.plan} with {sites}, on invented data", style="bold")
    for kind in report.tried:
        put(f"tried    {_kind(kind)}", hang=_WIDTH)
    rounds = f"{report.rounds} round{'' if report.rounds == 1 else 's'}"
    first = "" if report.tried else "tried"
    done = f"{rounds} in {seconds(report.seconds)}; no site was asked, and no sample was read"
    put(f"{first:<{_WIDTH}}{done}", hang=_WIDTH)


def _kind(kind: TriedKind) -> str:
    classes = f" of {kind.classes} classes" if kind.classes else ""
    invented = " and ".join(f"{count:,} to {name}" for name, count in kind.invented.items())
    return f"{_names(kind)}: samples {kind.samples}, targets {kind.targets}{classes}; invented: {invented}"


def _show_finding(one: DryRunFinding) -> None:
    words = told(one)
    put(f"{one.severity.value:<{_WIDTH}}{words.what}", style=_STYLES[one.severity], hang=_WIDTH)
    if words.where:
        put(f"{'':<{_WIDTH}}at: {words.where}", hang=_WIDTH + 4)
    put(f"{'':<{_WIDTH}}cure: {words.cure}", hang=_WIDTH + 6)


def _show_forecast(report: DryRunReport, forecast: Forecast) -> None:
    put("forecast", style="bold")
    figures = {one.name: one.size_bytes for one in report.figures}
    parts = f"train {seconds(forecast.train_s)}, evaluate {seconds(forecast.evaluate_s)}"
    all_rounds = {}
    if forecast.total_s is not None:
        name = f"{forecast.rounds} round{'' if forecast.rounds == 1 else 's'}"
        all_rounds[name] = f"{seconds(forecast.total_s)}, and what models need to travel"
    rows: dict[str, str] = {
        "a round": f"{seconds(forecast.round_s)}: {parts}, combine {seconds(forecast.combine_s)}",
        **all_rounds,
        "memory": f"worker at a site {size(forecast.worker_bytes)}, aggregator {size(figures['memory_aggregator'])}",
        "model": size(figures["model"]) + (f", an update {size(figures['update'])}" if figures["update"] else ""),
        "bytes a round": f"to the sites {size(figures['to_sites_per_round'])}, from them "
        f"{size(figures['from_sites_per_round'])}",
        "disk": f"at the Director {size(figures['disk_aggregator'])}, at a site {size(figures['disk_site'])}",
    }
    width = max(map(len, rows)) + 2
    if len(report.tried) > 1:
        rows["by site"] = "; ".join(_times(kind) for kind in report.tried if kind.seconds)
    for name, text in rows.items():
        put(f"{name:<{width}}{text}", hang=width)
    put(f"{'measured':<{width}}{_measured(report, forecast)}", hang=width)


def _times(kind: TriedKind) -> str:
    phases = ", ".join(f"{phase.value} {seconds(value)}" for phase, value in kind.seconds.items())
    return f"{_names(kind)}: {phases}"


def _names(kind: TriedKind) -> str:
    more = kind.count - len(kind.sites)
    return ", ".join(kind.sites) + (f" and {more:,} more" if more else "")


def _measured(report: DryRunReport, forecast: Forecast) -> str:
    on = f"on {forecast.measured_samples:,} invented samples, on a processor of this machine"
    evened = "; sites that a plan makes are taken to have equally many" if report.evened else ""
    if not forecast.scaled_to:
        return f"{on}; no site tells how many samples it has, so that times are for these"
    if forecast.scaled_to <= forecast.measured_samples:
        return f"{on}; no site has more{evened}"
    return f"{on}, and scaled to the {forecast.scaled_to:,} of the slowest site ({forecast.slowest}){evened}"
