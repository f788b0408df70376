"""Arguments of ``fx study``."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openfl_like.cli.options import WrittenPath

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_MOST_SHARES = 1_000


class StudyFileArgument(WrittenPath):
    """A study's file, or the name of a ready-made one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 (click's signature)
        """Find it."""
        from openfl_like.plan.workspace import find_study

        path = super().convert(value, param, ctx)
        return find_study(str(path))


def read_share(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Read ``K/N``, for an option."""
    if value is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", value)
    if match is None or not int(match[1]) <= int(match[2]) <= _MOST_SHARES:
        told = f"'{value}' is not K/N, such as 1/2 for the first of two shares"
        raise click.BadParameter(told, ctx=context, param=parameter)
    return int(match[1]), int(match[2])


STUDY_FILE = StudyFileArgument(path_type=Path)


def complete_studies(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete a study: a file, or the name of a ready-made one."""
    from click.shell_completion import CompletionItem

    from openfl_like.plan.workspace import installed_studies

    names = [CompletionItem(name) for name in installed_studies() if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]
