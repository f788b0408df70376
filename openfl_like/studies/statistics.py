"""How sure a study is of its differences: confidence intervals, and tests over pairs of equal seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from openfl_like.studies.study import StudyDesign
from openfl_like.studies.summary import ConfigurationSummary

LEVEL = 0.05
"""Of significance; intervals have 1 less it."""


@dataclass(frozen=True, slots=True)
class LevelComparison:
    """A level of an axis against the baseline, all else equal.

    Attributes:
        panel: Axis -> level, of the other axes.
        level: Which level.
        n: Seeds that both have.
        difference: Mean of level less baseline over these.
        half_width: Of the 95 % confidence interval of it; None where n is 1.
        statistic: Student's t of the pairs; None: it cannot be calculated.
        p: Its two-sided p value; None: there is none, since n is 1 or all differences are the same.
        corrected: The p value after Holm's correction for all comparisons of the study; None: as above.
    """

    panel: Mapping[str, str]
    level: str
    n: int
    difference: float
    half_width: float | None = None
    statistic: float | None = None
    p: float | None = None
    corrected: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance, at 5 % over all comparisons together."""
        return self.corrected is not None and self.corrected < LEVEL


def half_width(values: Sequence[float]) -> float | None:
    """Return half the width of the 95 % confidence interval of a mean, by Student's t; None for fewer than two."""
    n = len(values)
    if n < 2:
        return None
    deviation = float(np.std(values, ddof=1))
    return float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * deviation / math.sqrt(n)


def comparisons(study: StudyDesign, found: Sequence[ConfigurationSummary]) -> list[LevelComparison]:
    """Compare each level of the study's axis with the baseline, in each combination of the other axes.

    Runs of the same seed have the same sites and the same first model, so they are pairs: the test is Student's paired
    t-test. The p values are corrected together (S. Holm 1979, "A simple sequentially rejective multiple test
    procedure"). Configurations that were stopped early are not compared, since they had fewer rounds; nor are levels
    that were drawn, of which none is a baseline.
    """
    if any(axis.drawn for axis in study.axes if axis.name == study.compare):
        return []
    panels: dict[tuple[tuple[str, str], ...], dict[str, ConfigurationSummary]] = {}
    for one in found:
        levels = one.configuration.levels
        rest = tuple((axis, level) for axis, level in levels.items() if axis != study.compare)
        if study.compare in levels and not one.stopped_after:
            panels.setdefault(rest, {})[levels[study.compare]] = one
    tested = [
        _compared(dict(rest), level, panel[study.baseline], one)
        for rest, panel in panels.items()
        if study.baseline in panel
        for level, one in panel.items()
        if level != study.baseline
    ]
    return _corrected([one for one in tested if one is not None])


def _compared(
    panel: Mapping[str, str], level: str, baseline: ConfigurationSummary, other: ConfigurationSummary
) -> LevelComparison | None:
    seeds = sorted(baseline.values.keys() & other.values.keys())
    if not seeds:
        return None
    differences = [other.values[seed] - baseline.values[seed] for seed in seeds]
    found = LevelComparison(panel, level, len(seeds), math.fsum(differences) / len(seeds), half_width(differences))
    if len(seeds) < 2:
        return found
    if len(set(differences)) == 1:  # no spread to compare with
        return replace(found, p=1.0 if differences[0] == 0 else None)
    test = stats.ttest_rel([other.values[seed] for seed in seeds], [baseline.values[seed] for seed in seeds])
    return replace(found, statistic=float(test.statistic), p=float(test.pvalue))


def _corrected(found: Sequence[LevelComparison]) -> list[LevelComparison]:
    values = {place: one.p for place, one in enumerate(found) if one.p is not None}
    corrected = dict(zip(values, holm(list(values.values())), strict=True))
    return [replace(one, corrected=corrected.get(place)) for place, one in enumerate(found)]


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected by Holm's procedure, in their order."""
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, least = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = least
    return corrected
