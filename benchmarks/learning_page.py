"""Tables, findings and commands of docs/learning.md, and its pictures beside it."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from learning_cases import CASES, METHODS, PLANS, RESULT_SEEDS, Case, Method, Stage
from learning_figures import Curve, chosen
from learning_plots import curves_figure, final_figure
from scipy import stats

from openfl_like.drawing.style import STYLE
from openfl_like.studies.statistics import LEVEL, half_width, holm

BEGIN, END = "<!-- figures: written by benchmarks/learning.py -->", "<!-- end of figures -->"
BASELINE = "FedAvg"
_MINUS = "\N{MINUS SIGN}"
REMEDIES = ("SCAFFOLD", "FedDyn", "FedAdam")
"""Of which one at least should be better than the baseline where sites' labels differ."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A method less the baseline, over runs of the same seed.

    Attributes:
        values: One for each seed, in points.
        corrected: The p value of a paired t-test, after Holm's correction for all methods of the case; None: there is
            none, since all differences are the same.
    """

    values: tuple[float, ...]
    corrected: float | None = None

    @property
    def mean(self) -> float:
        """Of the seeds."""
        return float(np.mean(self.values))

    @property
    def significant(self) -> bool:
        """Whether it is more than chance, at 5 % over all methods of the case together."""
        return self.corrected is not None and self.corrected < LEVEL

    def __str__(self) -> str:
        width = half_width(self.values) or 0.0
        return f"{_signed(self.mean)} ± {width:.1f}{' *' if self.significant else ''}"


def results(curves: Iterable[Curve], case: Case) -> dict[str, list[Curve]]:
    """Return method -> its runs for the result, by seed."""
    found: dict[str, list[Curve]] = {method.name: [] for method in METHODS}
    for curve in curves:
        if curve.case == case.name and curve.stage is Stage.RESULT:
            found[curve.method].append(curve)
    return {name: sorted(runs, key=lambda run: run.seed) for name, runs in found.items()}


def differences(found: Mapping[str, Sequence[Curve]], baseline: str = BASELINE) -> dict[str, Difference]:
    """Return every other method's difference to the baseline."""
    made, tested = {}, {}
    base = {run.seed: run.final for run in found[baseline]}
    for name, runs in found.items():
        if name == baseline:
            continue
        pairs = [(run.final, base[run.seed]) for run in runs if run.seed in base]
        values = tuple(100 * (own - other) for own, other in pairs)
        made[name] = Difference(values)
        if len(set(values)) > 1:
            tested[name] = float(stats.ttest_rel(*zip(*pairs, strict=True)).pvalue)
    for name, corrected in zip(tested, holm(list(tested.values())), strict=True):
        made[name] = Difference(made[name].values, corrected)
    return made


def table(case: Case, curves: Sequence[Curve]) -> str:
    """Return the figures of a case as Markdown."""
    found = results(curves, case)
    apart = differences(found)
    target = f"rounds to {100 * case.target:.0f} %"
    lines = [
        f"| method | accuracy | less FedAvg | {target} | after training | settings |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, runs in found.items():
        cells = (
            name,
            _spread([100 * run.final for run in runs]),
            str(apart[name]) if name in apart else "",
            _rounds([run.rounds_to(case.target) for run in runs]),
            _spread([100 * run.final_own for run in runs]),
            f"`{runs[0].settings}`",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return f"{np.mean(values):.1f} ± {deviation:.1f}"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", _MINUS)


def _rounds(found: Sequence[int | None]) -> str:
    reached = [number for number in found if number is not None]
    if not reached:
        return "never"
    return _spread(reached) + ("" if len(reached) == len(found) else f" ({len(reached)} of {len(found)})")


def findings(curves: Sequence[Curve]) -> str:
    """Return what the figures say of what was to be shown, whichever way it came out."""
    found = {case: results(curves, case) for case in CASES}
    lines = [f"- *{case.title}*. {_above_chance(found[case], case)}" for case in CASES]
    for place, case in enumerate(CASES[:2]):
        lines[place] += f" {_remedies(found[case])}"
    lines[-1] += f" {_personal(found[CASES[-1]])}"
    return "\n".join(lines)


def shortfalls(curves: Sequence[Curve]) -> list[str]:
    """Return what should hold and does not: every method learns, and a remedy for different labels is one."""
    found = {case: results(curves, case) for case in CASES}
    missing = [
        f"{case.name}: {name} is at chance"
        for case in CASES
        for name in found[case]
        if not _learns(found[case], name, case)
    ]
    unhelped = [case.name for case in CASES[:2] if not _helped(found[case])]
    return missing + [f"{name}: none of {', '.join(REMEDIES)} is better than {BASELINE}" for name in unhelped]


def _mean(runs: Sequence[Curve]) -> float:
    return float(np.mean([run.final for run in runs]))


def _learns(found: Mapping[str, Sequence[Curve]], name: str, case: Case) -> bool:
    """Whether a method has come a quarter of the way from chance to no mistake."""
    return _mean(found[name]) > case.chance + (1 - case.chance) / 4


def _helped(found: Mapping[str, Sequence[Curve]]) -> bool:
    return any(differences(found)[name].mean > 0 for name in REMEDIES)


def _above_chance(found: Mapping[str, Sequence[Curve]], case: Case) -> str:
    least = min(found, key=lambda name: _mean(found[name]))
    verdict = "No method is at chance" if _learns(found, least, case) else "Not every method is above chance"
    return f"{verdict} ({100 * case.chance:.0f} %): the least is {100 * _mean(found[least]):.1f} %, of {least}."


def _remedies(found: Mapping[str, Sequence[Curve]]) -> str:
    apart = differences(found)
    better = [name for name in REMEDIES if apart[name].mean > 0]
    verdict = f"FedAvg is worse than {_listed(better)}" if better else "FedAvg is worse than none of three remedies"
    return f"{verdict}. Against FedAvg: {'; '.join(f'{name} {_sure(apart[name])}' for name in REMEDIES)}."


def _listed(names: Sequence[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


def _personal(found: Mapping[str, Sequence[Curve]]) -> str:
    plain, layer = differences(found)["FedBN"], "FedAvg, batch norm"
    same = differences({name: found[name] for name in (layer, "FedBN")}, layer)["FedBN"]
    return (
        f"Layers that stay at the hospitals (FedBN) {_versus(plain)} FedAvg with the plain model for the hospitals' "
        f"own held-out patients: {_sure(plain)}. They {_versus(same)} FedAvg with the same model, whose layer is "
        f"averaged: {_sure(same)}."
    )


def _sure(apart: Difference) -> str:
    wins = sum(value > 0 for value in apart.values)
    told = "significant" if apart.significant else "not significant"
    return f"{_signed(apart.mean)} points, better in {wins} of {len(apart.values)} seeds, {told}"


def _versus(apart: Difference) -> str:
    if not apart.significant:
        return "are not shown to beat" if apart.mean > 0 else "do not beat"
    return "beat" if apart.mean > 0 else "lose against"


def command(case: Case, method: Method, settings: str, seed: int) -> str:
    """Return the command of one run."""
    changes = {**method.settings[settings], case.seeded: seed}
    words = ["fx", "simulate", f"benchmarks/{PLANS.name}/{case.plan.name}"]
    for key, value in changes.items():
        words += ["-s", f"{key}={json.dumps(value) if isinstance(value, dict | bool) else value}"]
    return shlex.join(words)


def commands(curves: Sequence[Curve]) -> str:
    """Return a command for each cell, of its first seed."""
    blocks = []
    for case in CASES:
        best = chosen(curve for curve in curves if curve.case == case.name and curve.stage is Stage.TUNING)
        lines = [f"# {method.name}\n{command(case, method, best[method.name], RESULT_SEEDS[0])}" for method in METHODS]
        study = f"fx study run benchmarks/{PLANS.name}/{case.name}_result.yaml"
        head = f"### {case.title}\n\nAll of them with all seeds: `{study}`. One of them with one seed:\n\n"
        blocks.append(head + "```text\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(blocks)


def page_figures(curves: Sequence[Curve]) -> str:
    """Return what stands between the marks of the page."""
    parts = ["## What came out", findings(curves), "![final accuracy of every method and seed](learning-final.svg)"]
    for case in CASES:
        parts += [f"## {case.title}", table(case, curves)]
    parts += ["![accuracy of every method after each round, in the three cases](learning-curves.svg)"]
    parts += ["## Commands", commands(curves)]
    return "\n\n".join(parts)


def write_page(page: Path, curves: Sequence[Curve]) -> None:
    """Put the figures into the page, between its marks, and draw the pictures beside it."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{page_figures(curves)}\n\n{END}{after}", encoding="utf-8")
    found = {case: results(curves, case) for case in CASES}
    with mpl.rc_context(STYLE):
        for name, figure in (("curves", curves_figure(found)), ("final", final_figure(found))):
            figure.savefig(page.with_name(f"learning-{name}.svg"), metadata={"Date": None})
