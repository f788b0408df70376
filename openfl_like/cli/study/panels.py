"""Which configurations stand beside each other in figures and tables, and which in one panel."""

from collections.abc import Sequence

from openfl_like.studies.study import StudyDesign
from openfl_like.studies.summary import ConfigurationSummary


def panels_of(study: StudyDesign, found: Sequence[ConfigurationSummary]) -> dict[str, dict[str, ConfigurationSummary]]:
    """Return title -> name of a line -> configuration, for each combination of the other axes that are crossed."""
    apart = {study.compare, *(axis.name for axis in study.axes if axis.drawn)}
    panels: dict[str, dict[str, ConfigurationSummary]] = {}
    for one in found:
        levels = one.configuration.levels
        title = ", ".join(f"{axis} {level}" for axis, level in levels.items() if axis not in apart)
        panels.setdefault(title, {})[line_of(study, one)] = one
    return panels


def line_of(study: StudyDesign, one: ConfigurationSummary) -> str:
    """Return what a line is called: its level of the compared axis, and what was drawn besides."""
    levels = one.configuration.levels
    drawn = [axis.name for axis in study.axes if axis.drawn and axis.name != study.compare]
    compared = [levels[study.compare]] if study.compare in levels else []
    return ", ".join([*compared, *(f"{axis} {levels[axis]}" for axis in drawn)])
