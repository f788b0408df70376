"""Studies with results that nobody had to run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from openfl_like.studies.results import RoundRow, RunState, StudyRunResult
from openfl_like.studies.study import Configuration, HalvingRule, Level, StudyDesign, StudyRun, SweptAxis


def made_study(
    methods: Sequence[str] = ("A", "B"),
    alphas: Sequence[float] = (0.1, 10.0),
    repetitions: int = 3,
    rounds: int = 4,
    halving: HalvingRule | None = None,
) -> StudyDesign:
    """A study of methods by alphas; the seeds begin with 7."""
    axes = (
        SweptAxis("method", tuple(Level(name) for name in methods)),
        SweptAxis("alpha", tuple(Level(f"{alpha:g}", alpha) for alpha in alphas), geometric=True),
    )
    points = [(method, f"{alpha:g}") for method in methods for alpha in alphas]
    configurations = tuple(
        Configuration(number, {"method": method, "alpha": alpha}, {"task_runner.settings.lr": number}, rounds)
        for number, (method, alpha) in enumerate(points, 1)
    )
    runs = tuple(
        StudyRun(
            f"c{one.number}-r{repetition}", one.number, repetition, 6 + repetition, f"plan-{one.number}-{repetition}"
        )
        for one in configurations
        for repetition in range(1, repetitions + 1)
    )
    return StudyDesign(
        "skew", "digits", "accuracy", "max", "sequence", repetitions, axes, configurations, runs, halving,
        "method", methods[0] if methods else "", "code",
    )  # fmt: skip


def finished(run: StudyRun, values: Sequence[float], **changes: object) -> StudyRunResult:
    """A run whose metric had these values after its rounds; sites a and b were selected in turn."""
    rows = tuple(
        RoundRow(number, f"model-{run.id}-{number}", {"accuracy": value}, ("ab"[number % 2],), ("ab"[number % 2],))
        for number, value in enumerate(values, 1)
    )
    result = StudyRunResult(run.id, run.plan_digest, RunState.FINISHED, len(rows), f"sha-{run.id}", sites=2, rows=rows)
    return replace(result, **changes)  # type: ignore[arg-type]  # a test names the fields


def results_of(study: StudyDesign, last: Mapping[int, Sequence[float]]) -> dict[str, StudyRunResult]:
    """Results whose last values are these: number of a configuration -> a value for each repetition."""
    found = {}
    for configuration in study.configurations:
        for run, value in zip(study.runs_of(configuration), last.get(configuration.number, ()), strict=False):
            found[run.id] = finished(run, [value * part / 4 for part in (1, 2, 3, 4)])
    return found
